// Command liveapi-script is the plugin that serves a module written as a script. The host
// starts it, once for each script module and account; it is not for people to run.
package main

import (
	"github.com/liveapid/liveapid/plugins/script"
	"github.com/liveapid/liveapid/plugins/sdk"
)

func main() { sdk.ServePlugin(script.NewServer()) }
