package main

import (
	"fmt"
	"math"
	"strings"
)

// Sizes of the plot, in pixels.
const (
	plotLeft   = 130 // names of the scenarios
	plotTop    = 64  // legend and scale
	plotWidth  = 560
	plotBar    = 7
	plotMargin = 8
)

// least is what the scale begins with: one of ten thousand.
const least = 1e-4

// colors of the strategies that are drawn.
var colors = map[string]string{
	"none": "#999999", "close": "#d55e00", "stop-start": "#e69f00",
	"descriptors": "#56b4e9", "migrate": "#cc79a7", "handover": "#009e73",
}

// position returns where a share is on the scale, which is logarithmic.
func position(share float64) float64 {
	return plotWidth * math.Log(max(share, least)/least) / math.Log(1/least)
}

// plot returns an SVG picture of the share that each strategy lost in each
// scenario. A ring at the left edge is nothing lost.
func plot(results []result) string {
	scenarios, strategies := present(results)
	group := plotBar*len(strategies) + plotMargin
	height := plotTop + group*len(scenarios) + 10
	width := plotLeft + plotWidth + 40
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="8" y="16" font-size="13">Share of connections, requests and datagrams lost by restarts; a ring: none</text>`+"\n")
	for i, name := range strategies {
		x := plotLeft + i*95
		fmt.Fprintf(&b, `<rect x="%d" y="26" width="10" height="10" fill="%s"/><text x="%d" y="35">%s</text>`+"\n", x, colors[name], x+14, name)
	}
	for _, share := range []float64{1e-4, 1e-3, 1e-2, 1e-1, 1} {
		x := plotLeft + position(share)
		fmt.Fprintf(&b, `<line x1="%.0f" y1="%d" x2="%.0f" y2="%d" stroke="#ddd"/>`+"\n", x, plotTop-6, x, height-10)
		fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle" fill="#555">%g%%</text>`+"\n", x, plotTop-10, 100*share)
	}
	for i, s := range scenarios {
		y := plotTop + i*group
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-10, y+group/2, s.Name)
		for j, name := range strategies {
			r, ok := find(results, s.Name, name)
			if !ok {
				continue
			}
			top := y + j*plotBar
			if r.Tally.lost() == 0 {
				fmt.Fprintf(&b, `<circle cx="%d" cy="%.1f" r="2.5" fill="none" stroke="%s"/>`+"\n", plotLeft, float64(top)+plotBar/2.0, colors[name])
				continue
			}
			share := float64(r.Tally.lost()) / float64(r.Tally.total())
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"><title>%s, %s: %.2g%%</title></rect>`+"\n",
				plotLeft, top, max(2, position(share)), plotBar-1, colors[name], s.Name, name, 100*share)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}
