// Only for building Kubo: its own go.mod replaces go-libp2p by a fork, which a module that depends on it does not follow.
module dagpacs.invalid/kubo

go 1.26.5

require (
	github.com/ipfs/kubo v0.43.1
	github.com/libp2p/go-libp2p v0.51.0
)
