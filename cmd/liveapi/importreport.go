package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/liveapid/liveapid/host/admin/cpmove"
	"github.com/liveapid/liveapid/plugins/email/password"
	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/email/store/files"
	"github.com/liveapid/liveapid/plugins/email/store/filesproc"
)

// importReport describes the result of an import: the mailboxes, and everything that is left out.
type importReport struct {
	Account    string           `json:"account"`
	Home       string           `json:"home"`
	Domains    []string         `json:"domains"`
	Suspended  bool             `json:"suspended"`
	DryRun     bool             `json:"dry_run"`
	Registered string           `json:"registered,omitempty"` // The account's file.
	Files      int64            `json:"files,omitempty"`      // Of an archive.
	Bytes      int64            `json:"bytes,omitempty"`
	Mailboxes  []importedBox    `json:"mailboxes"`
	NotTaken   []store.Odd      `json:"not_taken"`
	LeftOut    []cpmove.LeftOut `json:"left_out"`
	Forwarders []forwarder      `json:"forwarders"`
	Notes      []string         `json:"notes"`
	archive    bool
	verifier   *password.Verifier
}

// importedBox is a mailbox that is imported.
type importedBox struct {
	Address   string   `json:"address"`
	Login     string   `json:"login"` // See loginOf.
	Quota     int64    `json:"quota"` // In bytes; 0 means no limit, and -1 that it is not valid.
	Suspended []string `json:"suspended"`
	Format    string   `json:"format"` // Of the mail: maildir, mdbox, dbox, or "" for none.
	Messages  *int64   `json:"messages,omitempty"`
	Bytes     *int64   `json:"bytes,omitempty"`
	Problems  []string `json:"problems"`
}

// forwarder is a line of a file with forwarders, which is kept but not used yet.
type forwarder struct {
	Address string `json:"address"` // A domain, for all its mail.
	To      string `json:"to"`
	File    string `json:"file"` // Where it is kept, below the home.
}

// loginOf says whether the owner of a mailbox can log in.
func loginOf(e store.Entry) string {
	switch {
	case e.Suspended.Has(store.Locked):
		return "locked with the account"
	case e.Hash == store.NoPassword || e.Hash == "":
		return "no password"
	case e.Suspended.Has(store.Login):
		return "suspended"
	}
	return "works"
}

// add adds the mailboxes of a domain to the report. mail describes the mail of a mailbox; Messages is -1 if
// they were not counted.
func (r *importReport) add(domain string, entries []store.Entry, odd []store.Odd, mail func(localpart string) *cpmove.Mail) {
	for _, e := range entries {
		box := importedBox{Address: e.String(), Login: loginOf(e), Quota: e.Quota, Suspended: []string{}, Problems: []string{}}
		for flag, word := range map[store.Suspension]string{store.Incoming: "incoming", store.Outgoing: "outgoing", store.Hold: "hold"} {
			if e.Suspended.Has(flag) {
				box.Suspended = append(box.Suspended, word)
			}
		}
		slices.Sort(box.Suspended)
		if e.BadQuota != "" {
			box.Quota = -1
			box.Problems = append(box.Problems, fmt.Sprintf("its quota %.40q is not a number of bytes, so there is no limit until it is set with edit_pop_quota", e.BadQuota))
		}
		if e.Hash != "" && e.Hash != store.NoPassword {
			if _, err := r.verifier.Accept(e.Hash); err != nil {
				box.Problems = append(box.Problems, "its password is stored in a way that is not verified here: set a new one with passwd_pop")
			} else if scheme := password.WeakScheme(e.Hash); scheme != "" {
				box.Problems = append(box.Problems, "its password has the weak scheme "+scheme+", which Dovecot 2.4 refuses: set a new one with passwd_pop")
			}
		}
		if m := mail(e.Localpart); m != nil {
			box.Format = m.Format
			if m.Messages >= 0 {
				box.Messages = &m.Messages
			}
			if m.Messages >= 0 || m.Bytes > 0 {
				box.Bytes = &m.Bytes
			}
			if m.Format == "mdbox" || m.Format == "dbox" {
				box.Problems = append(box.Problems, "its mail has the format "+m.Format+", which is not served; the mail is kept: convert it with doveadm sync, or doveadm backup")
			}
			if m.Compressed > 0 {
				box.Problems = append(box.Problems, fmt.Sprintf("%d of its messages are compressed: Dovecot reads them with the printed configuration", m.Compressed))
			}
		}
		r.Mailboxes = append(r.Mailboxes, box)
	}
	r.NotTaken = append(r.NotTaken, odd...)
}

// addOddDomains adds directories of etc that look like those of a domain, but have no domain's name.
func (r *importReport) addOddDomains(names []string) {
	for _, name := range names {
		r.NotTaken = append(r.NotTaken, store.Odd{Name: name, Where: "etc", Reason: "the name is not a domain, so its mailboxes can't be served"})
	}
}

// addPlan adds the contents of an archive to the report.
func (r *importReport) addPlan(plan cpmove.Plan) error {
	r.archive = true
	r.Files, r.Bytes, r.LeftOut, r.Notes = plan.Files, plan.Bytes, plan.Left, append(r.Notes, plan.Notes...)
	own := make(map[string]bool)
	for _, domain := range r.Domains {
		own[domain] = true
	}
	odd := make(map[string]bool)
	for name := range plan.Lists {
		if domain := strings.Split(name, "/")[1]; !own[domain] && strings.Contains(domain, ".") {
			odd[domain] = true
		}
	}
	r.addOddDomains(slices.Sorted(maps.Keys(odd)))
	listed := make(map[string]bool)
	for _, domain := range r.Domains {
		entries, odd, err := files.Read(domain, func(name string) ([]byte, error) { return plan.Lists["etc/"+domain+"/"+name], nil })
		if err != nil {
			return err
		}
		r.add(domain, entries, odd, func(localpart string) *cpmove.Mail {
			listed["mail/"+domain+"/"+localpart] = true
			return plan.Mail["mail/"+domain+"/"+localpart]
		})
		for _, whole := range []bool{false, true} {
			file := cpmove.ForwarderFile(domain, whole)
			for line := range strings.Lines(string(plan.Forwarders[file])) {
				if address, to, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(address, "#") {
					r.Forwarders = append(r.Forwarders, forwarder{strings.TrimSpace(address), strings.TrimSpace(to), file})
				}
			}
		}
	}
	for _, box := range slices.Sorted(maps.Keys(plan.Mail)) {
		m := plan.Mail[box]
		switch {
		case listed[box] || m.Messages == 0 && m.Bytes == 0:
		case box == "mail":
			r.Notes = append(r.Notes, fmt.Sprintf("the account's own mailbox has %d messages of %d bytes", m.Messages, m.Bytes))
		default:
			r.Notes = append(r.Notes, fmt.Sprintf("the mail in %s is kept, but it belongs to no mailbox: %d bytes", box, m.Bytes))
		}
	}
	return nil
}

// print prints the report as text or as JSON.
func (r *importReport) print(out io.Writer, asJSON bool) error {
	if asJSON {
		for _, list := range []*[]string{&r.Notes} {
			*list = append([]string{}, *list...)
		}
		r.Mailboxes = append([]importedBox{}, r.Mailboxes...)
		r.NotTaken = append([]store.Odd{}, r.NotTaken...)
		r.LeftOut = append([]cpmove.LeftOut{}, r.LeftOut...)
		r.Forwarders = append([]forwarder{}, r.Forwarders...)
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	var b strings.Builder
	for _, l := range r.LeftOut {
		fmt.Fprintf(&b, "not imported: %s: %s\n", show(l.Path), show(l.Reason))
	}
	for _, odd := range r.NotTaken {
		fmt.Fprintf(&b, "not taken as a mailbox: “%s” in %s: %s\n", show(odd.Name), show(odd.Where), show(odd.Reason))
	}
	for _, note := range r.Notes {
		fmt.Fprintln(&b, show(note))
	}
	if r.archive {
		fmt.Fprintf(&b, "%d files of %d bytes\n", r.Files, r.Bytes)
	}
	counts := make(map[string]int)
	for _, box := range r.Mailboxes {
		_, domain, _ := strings.Cut(box.Address, "@")
		counts[domain]++
		fmt.Fprintln(&b, box.text())
	}
	for i, f := range r.Forwarders {
		if i == maxForwarders {
			fmt.Fprintf(&b, "%d more forwarders are kept\n", len(r.Forwarders)-i)
			break
		}
		fmt.Fprintf(&b, "forwarder, kept in %s but not used yet: %s to %s\n", show(f.File), show(f.Address), show(f.To))
	}
	if r.Suspended {
		fmt.Fprintf(&b, "the account is suspended; liveapi account unsuspend %s ends that, also for the mailboxes that were locked with it\n", r.Account)
	}
	for _, domain := range r.Domains {
		fmt.Fprintf(&b, "%s: %d mailboxes\n", domain, counts[domain])
	}
	switch {
	case r.DryRun && r.archive:
		fmt.Fprintf(&b, "would unpack the files into %s and register the account %s with the domains %v\n", r.Home, r.Account, r.Domains)
	case r.DryRun:
		fmt.Fprintf(&b, "would register the account %s with the home %s\n", r.Account, r.Home)
	default:
		fmt.Fprintf(&b, "registered %s: %s\n", r.Account, r.Registered)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// maxForwarders is the number of forwarders that the text of a report names.
const maxForwarders = 1000

// show returns text of an archive for a terminal.
func show(text string) string { return filesproc.Printable(text) }

// text returns the mailbox as a line for people.
func (box importedBox) text() string {
	parts := []string{"login: " + box.Login}
	switch {
	case box.Quota == 0:
		parts = append(parts, "no quota")
	case box.Quota > 0:
		parts = append(parts, fmt.Sprintf("quota %d bytes", box.Quota))
	}
	switch {
	case box.Messages != nil:
		parts = append(parts, fmt.Sprintf("%d messages of %d bytes", *box.Messages, *box.Bytes))
	case box.Bytes != nil:
		parts = append(parts, fmt.Sprintf("%d bytes of mail", *box.Bytes))
	}
	for _, word := range box.Suspended {
		if word == "hold" {
			parts = append(parts, "outgoing mail is held")
		} else {
			parts = append(parts, word+" mail is suspended")
		}
	}
	return box.Address + ": " + strings.Join(append(parts, box.Problems...), "; ")
}
