package store

import "strings"

// NoPassword is stored instead of a hash if a mailbox has no password and its login is not suspended. Nobody can
// log in, and the mailbox counts as suspended, until a password is set.
const NoPassword = "*"

// LockedMark is the mark that a cPanel server writes in front of every hash of a suspended account.
const LockedMark = "*LOCKED*"

// LoginMark suspends the login when it precedes the hash.
const LoginMark = "!"

// blanks are the characters that are not part of a field of a store's file when they surround it.
const blanks = " \t\r\v\f"

// TrimBlanks returns field without the blanks around it.
func TrimBlanks(field string) string { return strings.Trim(field, blanks) }

// SplitMarks splits a stored password field into the marks in front of the hash, and the hash. The marks are
// LockedMark if cPanel suspended the account, LoginMark if this project suspended the mailbox, and often '*' from
// other programs. The prefix of a known scheme, such as {CRYPT}, may precede the marks and stays part of the
// hash. After any other prefix, '!', '*' or a blank may be a part of the password, so such a field has no marks.
//
// Blanks around any other hash do not belong to it. Dovecot compares them too, so nobody can log in with such a field:
// the blanks count as a mark.
func SplitMarks(field string) (marks, hash string) {
	scheme, rest := "", strings.TrimLeft(field, blanks)
	start := field[:len(field)-len(rest)]
	if i := strings.IndexByte(rest, '}'); strings.HasPrefix(rest, "{") && i > 0 {
		switch strings.ToUpper(rest[1:i]) {
		case "CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "BLF-CRYPT", "ARGON2ID":
			scheme, rest = rest[:i+1], rest[i+1:]
		default:
			return start, rest
		}
	}
	n := 0
	for n < len(rest) {
		switch {
		case strings.HasPrefix(rest[n:], LockedMark):
			n += len(LockedMark)
		case rest[n] == '!' || rest[n] == '*' || strings.IndexByte(blanks, rest[n]) >= 0:
			n++
		default:
			hash = strings.TrimRight(rest[n:], blanks)
			return start + rest[:n] + rest[n+len(hash):], scheme + hash
		}
	}
	return start + rest, scheme
}

// Marked returns the flags that the marks of a password field mean, and the marks without LockedMark and without
// blanks. If the hash is empty, the login is suspended.
func Marked(marks, hash string) (flags Suspension, own string) {
	rest := strings.ReplaceAll(marks, LockedMark, "")
	if len(rest) != len(marks) {
		flags |= Locked
	}
	if rest != "" || hash == "" {
		flags |= Login
	}
	for _, blank := range blanks {
		rest = strings.ReplaceAll(rest, string(blank), "")
	}
	return flags, rest
}

// KeptMarks returns the marks that stay in front of a new hash: all but blanks, and none for a mailbox that only
// waits for a password.
func KeptMarks(marks, hash string) string {
	flags, own := Marked(marks, hash)
	switch {
	case hash == "" && own == NoPassword:
		return ""
	case flags.Has(Locked):
		return LockedMark + own
	}
	return own
}

// ParseField returns the flags and the hash of a stored password field. The hash is NoPassword if the mailbox
// has none and its login is not suspended, and "" if the mailbox has none and its login is suspended.
func ParseField(field string) (flags Suspension, hash string) {
	marks, hash := SplitMarks(field)
	flags, own := Marked(marks, hash)
	if hash == "" && (own == "" || own == NoPassword) {
		hash = NoPassword
	}
	return flags, hash
}

// Field returns the password field of the entry: ParseField returns the same flags and hash for it.
func (e Entry) Field() string {
	marks := ""
	if e.Suspended.Has(Locked) {
		marks = LockedMark
	}
	if e.Suspended.Has(Login) && e.Hash != NoPassword {
		marks += LoginMark
	}
	return marks + e.Hash
}

// Unlocked returns a stored password field without LockedMark, and reports whether it had that mark. Everything
// else stays: other marks, and blanks, keep the login suspended.
func Unlocked(field string) (unlocked string, was bool) {
	unlocked = field
	for {
		if flags, _ := Marked(SplitMarks(unlocked)); !flags.Has(Locked) {
			break
		}
		unlocked, was = strings.Replace(unlocked, LockedMark, "", 1), true
	}
	if was && TrimBlanks(unlocked) == "" {
		return NoPassword, true // An empty field might let everybody log in.
	}
	return unlocked, was
}
