// Names Kubo's command, so that go.mod and go.sum pin it with all it needs. Nothing runs this;
// `make kubo` builds github.com/ipfs/kubo/cmd/ipfs itself.
package main

import _ "github.com/ipfs/kubo/cmd/ipfs"

func main() {}
