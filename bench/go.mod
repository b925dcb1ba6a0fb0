module example.com/reuse/bench

go 1.26.0

require (
	example.com/reuse v0.0.0
	github.com/cloudflare/tableflip v1.2.3
	github.com/gorilla/websocket v1.5.3
	github.com/kavu/go_reuseport v1.5.0
	github.com/libp2p/go-reuseport v0.4.0
	github.com/pires/go-proxyproto v0.8.1
	github.com/soheilhy/cmux v0.1.5
	github.com/valyala/fasthttp v1.78.0
	golang.org/x/net v0.62.0
	golang.org/x/sys v0.49.0
	google.golang.org/grpc v1.85.0
)

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/molecule-man/go-brrr v1.3.1 // indirect
	github.com/valyala/bytebufferpool v1.0.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace example.com/reuse => ../
