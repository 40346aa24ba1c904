// Command liveapi-email is the plugin that serves the modules Email and PasswdStrength. Only the host starts
// it: if a person runs the program, it prints a message and exits.
package main

import (
	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/sdk"
)

func main() { sdk.Serve(email.Modules()...) }
