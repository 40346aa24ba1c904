package cpmove

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
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
// directory or of the archive. It returns "" if none of them is a possible name, and an error if the archive says one
// name and its contents another: an archive must not choose another account than the one that it is named after.
func accountName(file, root string, users map[string]Account) (string, error) {
	base := filepath.Base(file)
	for _, ending := range []string{".gz", ".tgz", ".bz2", ".tbz2", ".zst", ".tar"} {
		base = strings.TrimSuffix(base, ending)
	}
	said := ""
	if strings.HasPrefix(base, "cpmove-") || strings.HasPrefix(base, "backup-") {
		said = nameIn(base)
	}
	if root != "" {
		if said != "" && said != nameIn(root) {
			return "", fmt.Errorf("the archive %s contains the account %.60q: pass the name of the account with --name", filepath.Base(file), nameIn(root))
		}
		said = nameIn(root)
	}
	if _, ok := users[said]; ok {
		return said, nil
	}
	if len(users) == 1 {
		for name := range users {
			if said != "" && validName(said) {
				return "", fmt.Errorf("the archive is named after the account %.60q, but contains the users file of %.60q: pass the name of the account with --name", said, name)
			}
			return name, nil
		}
	}
	for _, name := range []string{said, base} {
		if validName(name) {
			return name, nil
		}
	}
	return "", nil
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

// Maximum lengths of names and number of directories in them. A file system has such limits, too; Maildirs are far
// from them.
const (
	maxName      = 4095
	maxComponent = 255
	maxDepth     = 64
)

// tooLong reports whether no file system would take the name.
func tooLong(name string) bool {
	return len(name) > maxName || strings.Count(name, "/") > maxDepth ||
		slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return len(part) > maxComponent })
}

// wanted returns the name of an entry relative to the home, and reports whether the entry is unpacked:
// whether it is in etc or mail.
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

// leadsInside reports whether a symbolic link in mail leads to the mail of the same account, which has one of the
// given names. cPanel makes such links for each mailbox.
func leadsInside(name, target string, accounts ...string) bool {
	if path.IsAbs(target) {
		return slices.ContainsFunc(accounts, func(account string) bool {
			return account != "" && strings.Contains(path.Clean(target)+"/", "/"+account+"/mail/")
		})
	}
	target = path.Join(path.Dir(name), target)
	return target == "mail" || strings.HasPrefix(target, "mail/")
}
