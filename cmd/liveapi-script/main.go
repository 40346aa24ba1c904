// Command liveapi-script is the plugin that serves a module written as a script. The host starts a process
// for each script module and account.
package main

import (
	"github.com/liveapid/liveapid/plugins/script"
	"github.com/liveapid/liveapid/plugins/sdk"
)

func main() { sdk.ServePlugin(script.NewServer()) }
