// Command cpapi2 runs a function of API 2 for an account and prints the answer, like the command cpapi2 of
// cPanel.
package main

import (
	"os"

	"github.com/liveapid/liveapid/cmd/internal/apitool"
)

func main() {
	os.Exit(apitool.Run(append([]string{"cpapi2"}, os.Args[1:]...), os.Stdin, os.Stdout, os.Stderr))
}
