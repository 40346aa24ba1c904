// Command liveapi-email is the plugin that serves the modules Email and PasswdStrength, and the modules for
// the files of an account: NVData, Personalization and Quota. They share a process, so that an account needs
// only one worker. Only the host starts the program: if a person runs it, it prints a message and exits.
package main

import (
	"slices"

	"github.com/liveapid/liveapid/plugins/account"
	"github.com/liveapid/liveapid/plugins/email"
	"github.com/liveapid/liveapid/plugins/sdk"
)

func main() { sdk.Serve(slices.Concat(email.Modules(), account.Modules())...) }
