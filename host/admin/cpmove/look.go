package cpmove

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// Limits are the limits for the files that are unpacked from an archive. An archive that exceeds a limit is rejected with
// ErrHostile.
type Limits struct {
	Bytes   int64 // Maximum size of all files together, in bytes.
	Entries int64
	Ratio   int64 // Maximum ratio of the unpacked bytes to the bytes of the archive; see ratioFrom.
}

// DefaultLimits are the limits for an import. They are so high that the archive of a large account does not
// exceed them.
var DefaultLimits = Limits{Bytes: 200 << 30, Entries: 20_000_000, Ratio: 100}

// ratioFrom is the unpacked size, in bytes, above which the compression ratio is checked. A small archive may
// have a high ratio without being hostile.
const ratioFrom = 64 << 20

// LeftOut is an entry of an archive that is not imported.
type LeftOut struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Mail describes the mail of a mailbox in an archive.
type Mail struct {
	Messages   int64 // -1 if they were not counted.
	Bytes      int64
	Compressed int64
	Format     string // "maildir", "mdbox", "dbox", or "" if no mail was found.
}

// Plan describes the files that Unpack would import from an archive.
type Plan struct {
	Account Account
	Files   int64
	Bytes   int64
	HasHome bool // There is something in the home directory.
	HasMail bool // There is something in its directories etc or mail.
	// HasMessages means that there is a message, in whatever mailbox.
	HasMessages bool
	Left        []LeftOut
	Notes       []string          // Facts about the account that could not be read, for people.
	Mail        map[string]*Mail  // By the directory of the mailbox, mail/DOMAIN/NAME.
	Lists       map[string][]byte // The small files in the domains' directories of etc, by their names.
	// Forwarders are the files with a domain's forwarders, by their names below the home. They do not come from the
	// home, and are kept there for later.
	Forwarders map[string][]byte
	root       string // The account's directory in the archive.
}

// Maximum sizes and numbers of the files that Look keeps in memory.
const (
	maxUserData     = 2000
	maxUserDataFile = 64 << 10
	maxList         = 64 << 20 // Of a file with mailboxes, as in the store.
	maxLists        = 256 << 20
	maxLines        = 300_000 // Of a file with mailboxes.
	maxForwarders   = 4 << 20
	maxUsersFiles   = 16
	maxTarget       = 4096 // Of a symbolic link's target.
	maxLeft         = 100_000
	entrySize       = 1 << 10 // Bytes that a file or directory needs besides its contents, about.
)

// looker collects the plan of an archive.
type looker struct {
	limits    Limits
	packed    int64 // The size of the archive file.
	plan      Plan
	users     map[string]Account
	userErr   error           // Of a users file that can't be read.
	seen      map[uint64]bool // Hashes of the names to unpack.
	seed      maphash.Seed
	userdata  map[string][]byte
	domains   []string
	found     map[string]bool   // The domains.
	directory map[string]bool   // The directories that contain something to unpack.
	symlinks  map[string]string // The targets of symbolic links in mail.
	hardLinks bool
	files     int64
	written   int64 // Bytes, with those of entries.
	kept      int64 // Bytes in plan.Lists.
	forwarded int64
}

// Look reads the whole archive in file, checks the files that Unpack would write, and returns its plan. name is the account's
// name, or "" for the name in the archive. Look writes nothing. Nothing else in the archive is judged: names, links
// and sizes outside of etc and mail can't make it fail.
func Look(ctx context.Context, file, name string, limits Limits) (Plan, error) {
	l := looker{
		limits: limits, users: make(map[string]Account), userdata: make(map[string][]byte), found: make(map[string]bool),
		directory: make(map[string]bool), symlinks: make(map[string]string), seen: make(map[uint64]bool), seed: maphash.MakeSeed(),
		plan: Plan{Mail: make(map[string]*Mail), Lists: make(map[string][]byte), Forwarders: make(map[string][]byte)},
	}
	info, err := os.Stat(file)
	if err != nil {
		return l.plan, err
	}
	l.packed = info.Size()
	if l.plan.root, err = findRoot(ctx, file); err != nil {
		return l.plan, err
	}
	if err := each(ctx, file, l.plan.root, l.entry); err != nil {
		return l.plan, err
	}
	if l.hardLinks {
		if err := l.countHardLinks(ctx, file); err != nil {
			return l.plan, err
		}
	}
	return l.plan, l.finish(file, name)
}

// entry adds an entry to the plan.
func (l *looker) entry(e entry) error {
	dir, base := path.Split(e.name)
	if e.Typeflag == tar.TypeReg {
		switch {
		case dir == "cp/" && validName(base) && len(l.users) < maxUsersFiles:
			a, err := ParseUsers(base, e.data)
			if err != nil {
				l.userErr = errors.Join(l.userErr, fmt.Errorf("%s: %w", e.name, err))
				return nil
			}
			l.users[base] = a
			return nil
		case dir == "userdata/" && len(l.userdata) < maxUserData:
			// A larger file, or a file beyond the number, is not used: the import needs none of them.
			if text, err := io.ReadAll(io.LimitReader(e.data, maxUserDataFile)); err == nil {
				l.userdata[base] = text
			}
			return nil
		case (dir == "va/" || dir == "vad/") && isDomain(base):
			return l.forwarder(e, dir, base)
		}
	}
	name, unpack := wanted(e.name)
	if !unpack {
		l.plan.HasHome = l.plan.HasHome || strings.HasPrefix(e.name, "homedir/")
		return nil
	}
	l.plan.HasHome, l.plan.HasMail = true, true
	if err := l.judge(e, name); err != nil {
		return err
	}
	if e.Typeflag != tar.TypeSymlink {
		for dir := path.Dir(name); dir != "." && !l.directory[dir]; dir = path.Dir(dir) {
			l.directory[dir] = true
			if err := l.charge(0); err != nil {
				return err
			}
		}
	}
	if parts := strings.Split(name, "/"); parts[0] == "etc" && len(parts) > 2 && isDomain(parts[1]) && !l.found[parts[1]] {
		l.found[parts[1]] = true
		l.domains = append(l.domains, parts[1])
	}
	return nil
}

// judge checks an entry that is to be unpacked, and counts it.
func (l *looker) judge(e entry, name string) error {
	if tooLong(name) {
		return fmt.Errorf("%w: the entry name %.100q is too long", ErrHostile, e.Name)
	}
	if (name == "etc" || name == "mail") && e.Typeflag != tar.TypeDir && e.Typeflag != tar.TypeSymlink {
		return fmt.Errorf("%w: %.100q is not a directory", ErrHostile, e.Name)
	}
	if e.Typeflag != tar.TypeDir {
		hash := maphash.String(l.seed, name)
		if l.seen[hash] {
			return fmt.Errorf("%w: it contains %.100q twice", ErrHostile, name)
		}
		l.seen[hash] = true
	}
	if err := l.charge(0); err != nil {
		return err
	}
	switch e.Typeflag {
	case tar.TypeDir:
		if box := mailboxOf(name + "/"); box != "mail" && name == box+"/cur" {
			l.mail(box).Format = cmp.Or(l.mail(box).Format, "maildir") // Also without a message.
		}
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if err := l.count(e.Size); err != nil {
			return err
		}
		return l.file(e, name)
	case tar.TypeLink:
		other, unpacked := wanted(e.target)
		if box := mailboxOf(name); box == "" || !unpacked || mailboxOf(other) != box {
			return fmt.Errorf("%w: %.100q is a hard link to %.100q, which is not a file of the same mailbox", ErrHostile, e.Name, e.Linkname)
		}
		l.hardLinks = true
	case tar.TypeSymlink:
		if !strings.HasPrefix(name, "mail/") {
			return fmt.Errorf("%w: %.100q is a symbolic link", ErrHostile, e.Name)
		}
		if l.symlinks[name] = e.Linkname; len(e.Linkname) > maxTarget || len(l.symlinks) > maxLeft {
			return fmt.Errorf("%w: there are too many or too long symbolic links in mail", ErrHostile)
		}
	default:
		return fmt.Errorf("%w: %.100q is neither a file nor a directory", ErrHostile, e.Name)
	}
	return nil
}

// count adds a file to the plan.
func (l *looker) count(size int64) error {
	l.plan.Files++
	if l.plan.Bytes += size; size < 0 || l.plan.Bytes < 0 || l.plan.Bytes > l.limits.Bytes {
		return fmt.Errorf("%w: the files in etc and mail have more than %d bytes", ErrHostile, l.limits.Bytes)
	}
	return l.charge(size)
}

// charge counts bytes that are written: for an entry without a size the entry itself, otherwise its contents.
func (l *looker) charge(size int64) error {
	if size == 0 {
		size = entrySize
		if l.files++; l.files > l.limits.Entries {
			return fmt.Errorf("%w: etc and mail have more than %d entries", ErrHostile, l.limits.Entries)
		}
	}
	if l.written += size; l.written > ratioFrom && l.written/l.limits.Ratio > l.packed {
		return fmt.Errorf("%w: the files in etc and mail are more than %d times as large as the archive file; if they really compress so well, import with a larger --max-ratio",
			ErrHostile, l.limits.Ratio)
	}
	return nil
}

// file takes the facts about mailboxes from a file.
func (l *looker) file(e entry, name string) error {
	parts := strings.Split(name, "/")
	if parts[0] == "etc" {
		if len(parts) != 3 || !isList(parts[2]) {
			return nil
		}
		if l.kept += e.Size; e.Size > maxList || l.kept > maxLists {
			return fmt.Errorf("%w: the lists of mailboxes in etc are too large", ErrHostile)
		}
		text, err := io.ReadAll(e.data)
		if l.plan.Lists[name] = text; bytes.Count(text, []byte{'\n'}) > maxLines {
			return fmt.Errorf("%w: %.100q has more than %d lines", ErrHostile, e.Name, maxLines)
		}
		return err
	}
	if dir := path.Base(path.Dir(name)); dir == "cur" || dir == "new" || dir == "storage" || dir == "dbox-Mails" {
		l.plan.HasMessages = true
	}
	box := mailboxOf(name)
	if box == "" {
		return nil
	}
	m := l.mail(box)
	within := strings.TrimPrefix(name, box)
	switch dir := path.Base(path.Dir(name)); {
	case dir == "cur" || dir == "new":
		m.Format = cmp.Or(m.Format, "maildir")
		m.Messages++
		m.Bytes += e.Size
		head := make([]byte, 4)
		if n, err := io.ReadFull(e.data, head); err == nil && isCompressed(head[:n]) {
			m.Compressed++
		}
	case dir == "storage" && strings.HasPrefix(path.Base(name), "m."):
		m.Format, m.Messages = "mdbox", -1 // A file contains many.
		m.Bytes += e.Size
	case dir == "dbox-Mails" && strings.HasPrefix(path.Base(name), "u.") && strings.HasPrefix(within, "/mailboxes/"):
		m.Format = "dbox"
		m.Messages++
		m.Bytes += e.Size
	}
	return nil
}

// mail returns the description of the mail in a mailbox's directory.
func (l *looker) mail(box string) *Mail {
	m := l.plan.Mail[box]
	if m == nil {
		m = &Mail{}
		l.plan.Mail[box] = m
	}
	return m
}

// isList reports whether a file in a domain's directory describes its mailboxes.
func isList(name string) bool {
	return slices.Contains([]string{"passwd", "shadow", "quota", "suspended_incoming", "suspended_outgoing", "hold_outgoing"}, name)
}

// isCompressed reports whether a message begins like a file that Dovecot's zlib plugin reads.
func isCompressed(head []byte) bool {
	for _, magic := range [][]byte{{0x1f, 0x8b}, []byte("BZh"), {0x28, 0xb5, 0x2f, 0xfd}, {0x04, 0x22, 0x4d, 0x18}, []byte("Dove")} {
		if bytes.HasPrefix(head, magic) {
			return true
		}
	}
	return false
}

// forwarder keeps a file with a domain's forwarders: of va for its addresses, of vad for the domain.
func (l *looker) forwarder(e entry, dir, domain string) error {
	if e.Size == 0 {
		return nil
	}
	if l.forwarded += e.Size; l.forwarded > maxForwarders {
		l.plan.Left = append(l.plan.Left, LeftOut{e.name, "the files with forwarders are too large"})
		return nil
	}
	text, err := io.ReadAll(e.data)
	l.plan.Forwarders[ForwarderFile(domain, dir == "vad/")] = text
	return err
}

// ForwarderFile returns the name below the home of the file that keeps the forwarders of a domain, or the forwarder
// of the whole domain.
func ForwarderFile(domain string, whole bool) string {
	if whole {
		return "etc/" + domain + "/domain_forwarder"
	}
	return "etc/" + domain + "/forwarders"
}

// LeaveForwarders leaves the forwarders out of the plan, because without a home they can't be kept.
func (p *Plan) LeaveForwarders() {
	for _, name := range slices.Sorted(maps.Keys(p.Forwarders)) {
		p.Left = append(p.Left, LeftOut{name, "forwarders, which are kept only in a home"})
	}
	p.Forwarders = nil
}

// countHardLinks counts the hard links, which become files, and leaves out those whose file is not in the archive
// before them. The sizes of their files are known only after another reading.
func (l *looker) countHardLinks(ctx context.Context, file string) error {
	targets := make(map[string]int64)
	for _, size := range []bool{false, true} {
		if err := each(ctx, file, l.plan.root, func(e entry) error {
			name, unpack := wanted(e.name)
			if !unpack {
				return nil
			}
			_, isTarget := targets[name]
			switch {
			case !size && e.Typeflag == tar.TypeLink:
				other, _ := wanted(e.target)
				targets[other] = -1
			case size && e.Typeflag == tar.TypeLink:
				other, _ := wanted(e.target)
				if targets[other] < 0 {
					l.plan.Left = append(l.plan.Left, LeftOut{name, "the archive does not contain the file that the hard link leads to"})
					if len(l.plan.Left) > maxLeft {
						return fmt.Errorf("%w: there are too many hard links to files that are not in the archive", ErrHostile)
					}
					return nil
				}
				if isTarget {
					targets[name] = targets[other]
				}
				if dir := path.Base(path.Dir(name)); dir == "cur" || dir == "new" {
					m := l.mail(mailboxOf(name))
					m.Messages, m.Bytes = m.Messages+1, m.Bytes+targets[other]
				}
				return l.count(targets[other])
			case size && isTarget && e.Typeflag != tar.TypeDir && e.Typeflag != tar.TypeSymlink:
				targets[name] = e.Size
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// finish makes the checks that need the whole archive.
func (l *looker) finish(file, name string) error {
	p := &l.plan
	archived, nameErr := accountName(file, p.root, l.users)
	if nameErr != nil && name == "" {
		return nameErr
	}
	if archived == "" && len(l.users) == 1 { // The name was given.
		for own := range l.users {
			archived = own
		}
	}
	for link, target := range l.symlinks {
		if !leadsInside(link, target, archived, name) {
			return fmt.Errorf("%w: %.100q is a symbolic link to %.100q, which is not the account's mail", ErrHostile, link, target)
		}
		if l.directory[link] {
			return fmt.Errorf("%w: %.100q is a symbolic link and a directory", ErrHostile, link)
		}
		p.Left = append(p.Left, LeftOut{link, "a symbolic link to " + target})
	}
	if len(l.users) == 0 && l.userErr != nil {
		return l.userErr
	}
	if !p.HasHome && len(l.users) == 0 {
		return errors.New("the archive is not that of a cPanel account: it contains neither a file in homedir nor cp/NAME; a home that was packed in another way can be imported as a directory after it was unpacked")
	}
	p.Account = l.users[archived]
	p.Account.Name = archived
	if name != "" {
		p.Account.Name = name
	}
	if p.Account.Name == "" {
		return errors.New("neither the archive's name nor its contents name the account: pass its name with --name")
	}
	p.Account.AddFound(l.domains)
	own := p.Account.domainSet()
	for name := range p.Forwarders {
		if domain := strings.Split(name, "/")[1]; !own[domain] {
			delete(p.Forwarders, name)
			p.Left = append(p.Left, LeftOut{name, "forwarders of a domain that the account does not have"})
		}
	}
	slices.SortFunc(p.Left, func(a, b LeftOut) int { return strings.Compare(a.Path, b.Path) })
	if err := p.Account.AddSites(func(name string) ([]byte, error) {
		if text, ok := l.userdata[name]; ok {
			return text, nil
		}
		return nil, fs.ErrNotExist
	}); err != nil {
		p.Notes = append(p.Notes, "the document roots are not imported: "+err.Error())
	}
	return nil
}
