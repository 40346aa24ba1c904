// Command liveapi-script is the plugin that runs a module written as a script. The host starts a separate
// process of liveapi-script for each script module and account.
package main

import (
	"github.com/liveapid/liveapid/plugins/script"
	"github.com/liveapid/liveapid/plugins/sdk"
)

func main() { sdk.ServePlugin(script.NewServer()) }
