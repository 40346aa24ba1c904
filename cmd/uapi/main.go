// Command uapi runs a function of UAPI for an account and prints the answer, like the command uapi of cPanel.
// Started under the name cpapi1, cpapi2 or whmapi1, it runs a function of that API.
package main

import (
	"os"

	"github.com/liveapid/liveapid/cmd/internal/apitool"
)

func main() {
	os.Exit(apitool.Run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
