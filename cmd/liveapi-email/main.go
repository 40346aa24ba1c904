// Command liveapi-email is the plugin that serves the modules Email and PasswdStrength. The host starts it.
// If a person starts it, it prints a message and exits.
package main

import (
	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/sdk"
)

func main() { sdk.Serve(email.Modules()...) }
