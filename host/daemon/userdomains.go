package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/atomicfile"
)

// writeUserDomains writes cPanel's files userdomains, which lists the user of each domain, and trueuserdomains,
// which lists only main domains, if the configuration names a directory for them. A file that is up to date is
// not written.
func (rt *Runtime) writeUserDomains(dir string) {
	if dir == "" {
		return
	}
	all, main := []string{}, []string{}
	for _, a := range rt.mode.all() {
		for i, domain := range a.Domains {
			if rt.mode.owner(domain) != a.Name {
				continue // Another account claims the domain, too.
			}
			line := domain + ": " + a.Name
			all = append(all, line)
			if i == 0 {
				main = append(main, line)
			}
		}
	}
	slices.Sort(all)
	slices.Sort(main)
	all = append([]string{"*: nobody"}, all...)
	for name, lines := range map[string][]string{"userdomains": all, "trueuserdomains": main} {
		path := filepath.Join(dir, name)
		text := []byte(strings.Join(lines, "\n") + "\n")
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
			continue
		}
		if err := atomicfile.Write(path, text, 0o644); err != nil {
			rt.log.Error("can't write a file of write_userdomains", "error", err.Error())
		}
	}
}
