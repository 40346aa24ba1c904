// Command uapi runs a function of UAPI for an account and prints the answer, like the command uapi of cPanel.
package main

import (
	"os"

	"github.com/liveapid/liveapid/cmd/internal/apitool"
	"github.com/liveapid/liveapid/protocol"
)

func main() {
	os.Exit(apitool.Run(protocol.UAPI, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
