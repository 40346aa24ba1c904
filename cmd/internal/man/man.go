// Package man writes the man pages of a command and of those below it. Only builds with the tag
// man have it: it is for the package, and in no program that people get.
package man

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/liveapid/liveapid/host"
)

// AddTo gives root the hidden command man DIR, which writes its pages, of a section.
func AddTo(root *cobra.Command, section string) {
	root.AddCommand(&cobra.Command{
		Use: "man DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, words []string) error {
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Section: section, Source: "liveapid " + host.Version, Manual: "liveapid"}, words[0])
		},
	})
}
