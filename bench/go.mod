module example.com/reuse/bench

go 1.26.0

require (
	example.com/reuse v0.0.0
	github.com/kavu/go_reuseport v1.5.0
	github.com/libp2p/go-reuseport v0.4.0
	github.com/valyala/fasthttp v1.78.0
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0
)

replace example.com/reuse => ../
