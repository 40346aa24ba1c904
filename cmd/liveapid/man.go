//go:build man

package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/liveapid/liveapid/host"
)

// The command man writes the man pages, for the package; it is in no program that people get.
func init() {
	extra = func(root *cobra.Command) {
		root.AddCommand(&cobra.Command{
			Use: "man DIR", Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, words []string) error {
				root.DisableAutoGenTag = true
				return doc.GenManTree(root, &doc.GenManHeader{Section: "8", Source: "liveapid " + host.Version, Manual: "liveapid"}, words[0])
			},
		})
	}
}
