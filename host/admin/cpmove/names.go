package cpmove

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// backupName matches the names of backups that a user made: backup-DATE_TIME_NAME.
var backupName = regexp.MustCompile(`^backup-\d+\.\d+\.\d+_\d+-\d+-\d+_(.+)$`)

// nameIn returns the account's name in the name of an archive or of its top directory: cpmove-NAME,
// backup-DATE_TIME_NAME, backup-NAME or NAME.
func nameIn(name string) string {
	if m := backupName.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "cpmove-"), "backup-")
	return name
}

// accountName returns the name of the account in an archive: from the only users file, or the name of the top
// directory or of the archive. It returns "" if none of them is a possible name.
func accountName(file, root string, users map[string]Account) string {
	base := filepath.Base(file)
	for _, ending := range []string{".gz", ".tgz", ".bz2", ".tbz2", ".zst", ".tar"} {
		base = strings.TrimSuffix(base, ending)
	}
	fromRoot := nameIn(root)
	if _, ok := users[fromRoot]; ok {
		return fromRoot
	}
	if len(users) == 1 {
		for name := range users {
			return name
		}
	}
	for _, name := range []string{fromRoot, nameIn(base)} {
		if validName(name) {
			return name
		}
	}
	return ""
}

// validName reports whether name is a possible name of a system user.
func validName(name string) bool {
	if name == "" || len(name) > 32 || name[0] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// wanted returns the name of an entry relative to the home, and reports whether the entry is unpacked: what is in
// etc and mail.
func wanted(name string) (string, bool) {
	name, ok := strings.CutPrefix(name, "homedir/")
	top, _, _ := strings.Cut(name, "/")
	return name, ok && (top == "etc" || top == "mail")
}

// mailboxOf returns the directory of the mailbox in which a file is: mail/DOMAIN/NAME, or mail for the account's
// own mailbox. It returns "" for a file that is in neither.
func mailboxOf(name string) string {
	parts := strings.Split(name, "/")
	switch {
	case parts[0] != "mail" || len(parts) < 3:
		return ""
	case len(parts) > 3 && isDomain(parts[1]):
		return strings.Join(parts[:3], "/")
	case parts[1] == "cur" || parts[1] == "new" || parts[1] == "tmp" || strings.HasPrefix(parts[1], "."):
		return "mail"
	}
	return ""
}

// leadsInside reports whether a symbolic link in mail leads to the mail of the same account. cPanel makes such links
// for each mailbox.
func leadsInside(name, target, account string) bool {
	if path.IsAbs(target) {
		return strings.Contains(path.Clean(target)+"/", "/"+account+"/mail/")
	}
	target = path.Join(path.Dir(name), target)
	return target == "mail" || strings.HasPrefix(target, "mail/")
}
