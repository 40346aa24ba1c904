//go:build man

package main

import (
	"github.com/spf13/cobra"

	"github.com/liveapid/liveapid/cmd/internal/man"
)

func init() {
	extra = func(root *cobra.Command) { man.AddTo(root, "8") }
}
