package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// A bar of a plot.
type bar struct {
	name string
	value
}

// Sizes of a plot, in pixels.
const (
	plotLeft  = 170
	plotWidth = 420
	plotTop   = 46
	plotRow   = 22
)

// plot returns an SVG picture of bars with their quartiles. A line stands at mark,
// if that is not 0. With logarithmic the scale begins below the least.
func plot(title string, bars []bar, mark float64, logarithmic bool) string {
	least, most := math.Inf(1), mark
	for _, b := range bars {
		least, most = min(least, b.q1), max(most, b.q3)
	}
	least = math.Pow(10, math.Floor(math.Log10(max(min(least, most), 1e-9))))
	at := func(v float64) float64 {
		if logarithmic {
			return plotLeft + plotWidth*math.Log(max(v, least)/least)/math.Log(most/least)
		}
		return plotLeft + plotWidth*v/most
	}
	var s strings.Builder
	height := plotTop + plotRow*len(bars) + 8
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		plotLeft+plotWidth+90, height)
	fmt.Fprintf(&s, `<rect width="100%%" height="%d" fill="white"/>`+"\n", height)
	scale := "the thin line: quartiles"
	if logarithmic {
		scale += "; logarithmic"
	}
	fmt.Fprintf(&s, `<text x="8" y="18" font-size="14">%s</text><text x="8" y="35" fill="#555">%s</text>`+"\n", html.EscapeString(title), scale)
	for i, b := range bars {
		y := float64(plotTop + i*plotRow)
		fmt.Fprintf(&s, `<text x="%d" y="%.0f" text-anchor="end">%s</text>`+"\n", plotLeft-8, y+13, html.EscapeString(b.name))
		fmt.Fprintf(&s, `<rect x="%d" y="%.0f" width="%.1f" height="14" fill="#56b4e9"/>`+"\n", plotLeft, y+2, at(b.median)-plotLeft)
		fmt.Fprintf(&s, `<line x1="%.1f" y1="%.0f" x2="%.1f" y2="%.0f" stroke="black"/>`+"\n", at(b.q1), y+9, at(b.q3), y+9)
		fmt.Fprintf(&s, `<text x="%.1f" y="%.0f">%.3g</text>`+"\n", at(max(b.median, b.q3))+6, y+13, b.median)
	}
	if mark > 0 {
		fmt.Fprintf(&s, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#d55e00" stroke-dasharray="4 3"/>`+"\n",
			at(mark), plotTop-4, at(mark), height-6)
	}
	s.WriteString("</svg>\n")
	return s.String()
}
