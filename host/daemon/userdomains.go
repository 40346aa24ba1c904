package daemon

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/atomicfile"
)

// writeUserDomains writes cPanel's files userdomains, which lists the user of each domain, and trueuserdomains,
// which lists only main domains, if the configuration names a directory for them. An account that can't be read
// at the moment keeps its lines, because a mail server that reads the files would reject the account's mail. A
// file that is up to date is not written. Only one call may run at a time.
func (rt *Runtime) writeUserDomains(dir string) {
	owners, complete := rt.mode.owners()
	if dir == "" || !complete {
		return
	}
	all, main := []string{}, []string{}
	for domain, name := range owners {
		all = append(all, domain+": "+name)
	}
	readable := make(map[string]bool)
	for _, a := range rt.mode.all() {
		readable[a.Name] = true
		if len(a.Domains) > 0 {
			main = append(main, a.Domains[0]+": "+a.Name)
		}
	}
	truePath := filepath.Join(dir, "trueuserdomains")
	before, err := os.ReadFile(truePath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		rt.log.Error("can't read a file of write_userdomains", "error", err.Error())
		return // The lines of accounts that can't be read would be lost.
	}
	for line := range strings.Lines(string(before)) {
		domain, name, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name != "" && !readable[name] && owners[domain] == name {
			main = append(main, domain+": "+name)
		}
	}
	slices.Sort(all)
	slices.Sort(main)
	all = append([]string{"*: nobody"}, all...)
	for path, lines := range map[string][]string{filepath.Join(dir, "userdomains"): all, truePath: main} {
		text := []byte(strings.Join(lines, "\n") + "\n")
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
			continue
		}
		if err := atomicfile.Write(path, text, 0o644); err != nil {
			rt.log.Error("can't write a file of write_userdomains", "error", err.Error())
		}
	}
}
