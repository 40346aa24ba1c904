// Package man generates the manual pages of a command and its subcommands. Only builds with the tag man
// import this package; the distributed programs do not.
package man

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/liveapid/liveapid/host"
)

// AddTo adds the hidden subcommand "man DIR" to root. The subcommand writes the manual pages of root and its
// subcommands into the directory DIR, as pages of the given section.
func AddTo(root *cobra.Command, section string) {
	root.AddCommand(&cobra.Command{
		Use: "man DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, words []string) error {
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Section: section, Source: "liveapid " + host.Version, Manual: "liveapid"}, words[0])
		},
	})
}
