package email

import (
	"context"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// mainAccount is the name under which lists show the account's own mailbox.
const mainAccount = "Main Account"

// all returns the mailboxes of the given domain. If domain is "", it returns the mailboxes of all domains of
// the account, sorted by domain.
func (m *Module) all(ctx context.Context, account protocol.Account, domain string) ([]store.Mailbox, error) {
	domains := []string{domain}
	if domain == "" {
		domains = slices.Clone(account.Domains)
		slices.Sort(domains)
		domains = slices.Compact(domains)
	}
	var all []store.Mailbox
	for _, d := range domains {
		list, err := m.store(account).List(ctx, d)
		if err != nil {
			return nil, public(store.Address{Domain: d}, err, "The mailboxes could not be listed")
		}
		all = append(all, list...)
	}
	return all, nil
}

const (
	// maxPattern is the maximum length of the argument regex, in bytes. maxMatching is the maximum total time
	// for matching the regex against all entries of a list.
	maxPattern  = 1024
	maxMatching = 2 * time.Second
)

// slashed matches a regular expression that is written as in Perl or JavaScript: /user/i.
var slashed = regexp.MustCompile(`(?s)^/(.*)/([imsx]*)$`)

// matcher returns a function that reports whether a mailbox's address, or the part before the @, matches the
// argument regex. Without that argument, every mailbox matches.
func matcher(call *sdk.Call) (func(address string) (bool, error), error) {
	pattern := call.String("regex")
	if m := slashed.FindStringSubmatch(pattern); m != nil {
		if pattern = m[1]; m[2] != "" {
			pattern = "(?" + m[2] + ")" + pattern
		}
	}
	if pattern == "" {
		return func(string) (bool, error) { return true, nil }, nil
	}
	if len(pattern) > maxPattern {
		// The length is limited because the time to compile an expression grows with the square of its
		// length.
		return nil, protocol.NewError(protocol.KindInvalid, "The ‘regex’ argument may have at most "+strconv.Itoa(maxPattern)+" characters.")
	}
	re, err := regexp2.Compile(pattern, regexp2.None)
	if err != nil {
		return nil, protocol.NewError(protocol.KindInvalid, "The ‘regex’ argument is not a valid regular expression.")
	}
	re.MatchTimeout = 100 * time.Millisecond // Without a timeout, some expressions would match endlessly.
	left := maxMatching
	return func(address string) (bool, error) {
		start := time.Now()
		ok, err := re.MatchString(address)
		if name, _, whole := strings.Cut(address, "@"); whole && !ok && err == nil {
			ok, err = re.MatchString(name)
		}
		if left -= time.Since(start); err != nil || left < 0 {
			return false, protocol.NewError(protocol.KindInvalid, "The ‘regex’ argument takes too long to match.")
		}
		return ok, nil
	}, nil
}

func bit(on bool) int {
	if on {
		return 1
	}
	return 0
}

// listPops lists the account's own mailbox first, then the other mailboxes.
func (m *Module) listPops(ctx context.Context, call *sdk.Call) (any, error) {
	matches, err := matcher(call)
	if err != nil {
		return nil, err
	}
	all, err := m.all(ctx, call.Account, "")
	if err != nil {
		return nil, err
	}
	list := make([]any, 0, len(all)+1)
	add := func(email, login string, s store.Suspension) error {
		ok, err := matches(email)
		if ok {
			list = append(list, map[string]any{
				"email": email, "login": login,
				"suspended_login": bit(s.Has(store.NoLogin)), "suspended_incoming": bit(s.Has(store.Incoming)),
			})
		}
		return err
	}
	if !call.Flag("skip_main") {
		if err := add(call.Account.Name, mainAccount, 0); err != nil {
			return nil, err
		}
	}
	for _, b := range all {
		if err := add(b.String(), b.String(), b.Suspended); err != nil {
			return nil, err
		}
	}
	size := 0
	for _, b := range all {
		size += 2*len(b.String()) + 8
	}
	if err := checkSize(len(list), 5, size); err != nil {
		return nil, err
	}
	transformed(call)
	return list, nil
}

// transformed sets the metadata that UAPI returns with every list.
func transformed(call *sdk.Call) {
	if call.API == protocol.UAPI {
		call.Metadata = map[string]any{"transformed": 1}
	}
}

// withImage adds the field image, which only listpopswithimage returns and which is always empty.
func withImage(v any) any {
	list, _ := v.([]any)
	for _, r := range list {
		if record, ok := r.(map[string]any); ok {
			record["image"] = ""
		}
	}
	return list
}

// countPops counts the mailboxes. The account's own mailbox is not counted.
func (m *Module) countPops(ctx context.Context, call *sdk.Call) (any, error) {
	all, err := m.all(ctx, call.Account, "")
	transformed(call)
	return len(all), err
}

// listDomains lists the account's domains, the main domain first.
func (m *Module) listDomains(_ context.Context, call *sdk.Call) (any, error) {
	selected := ascii(call.String("select"))
	list := []any{}
	add := func(domain string) {
		r := map[string]any{"domain": domain}
		if domain == selected {
			r["select"] = 1
		}
		list = append(list, r)
	}
	for i, domain := range call.Account.Domains {
		if i == 0 && call.Flag("skipmain") {
			continue
		}
		if strings.HasPrefix(domain, "*.") {
			continue // include_wildcard adds the wildcard of each domain.
		}
		add(domain)
		if call.Flag("add_www") {
			add("www." + domain)
		}
		if call.Flag("include_wildcard") {
			add("*." + domain)
		}
	}
	transformed(call)
	return list, nil
}

// accountName returns the name to display for the argument account. It does not check that the mailbox
// exists.
func (m *Module) accountName(_ context.Context, call *sdk.Call) (any, error) {
	account := call.String("account")
	if call.API == protocol.API2 {
		switch name, domain, ok := strings.Cut(account, "@"); {
		case account == "" && call.Has("display"):
			return "All Mail On Your Account", nil
		case account == "":
			return "", nil
		case ok && domain != "":
			return name, nil
		default:
			return name + "@" + call.Account.MainDomain(), nil
		}
	}
	if account == "" && call.Has("display") {
		return "All Mail On The Account", nil
	}
	return account, nil
}

// measured is a mailbox together with its disk usage.
type measured struct {
	store.Mailbox
	store.Usage
	email, login string
	user, domain string
}

// listPopsWithDisk lists the mailboxes with their quotas and their disk usage.
func (m *Module) listPopsWithDisk(ctx context.Context, call *sdk.Call) (any, error) {
	list, err := m.chosen(ctx, call)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, b := range list {
		size += len(b.user) + len(b.domain) + len(b.email) + len(b.login) + 85
	}
	if err := checkSize(len(list), 20, size); err != nil {
		return nil, err
	}
	warnOfQuotas(call, list)
	records := make([]any, 0, len(list))
	for _, b := range list {
		if !call.Flag("no_disk") {
			usage, err := m.usage(ctx, call.Account, b)
			if err != nil {
				return nil, public(b.Address, err, "The mail could not be measured")
			}
			b.Usage = usage
		}
		percent := share(b)
		if call.Flag("nearquotaonly") && percent < 95 {
			continue
		}
		records = append(records, diskRecord(call, b, percent))
	}
	transformed(call)
	return records, nil
}

func (m *Module) usage(ctx context.Context, account protocol.Account, b measured) (store.Usage, error) {
	if b.email == mainAccount {
		return m.store(account).MainUsage(ctx)
	}
	return m.store(account).Usage(ctx, b.Address)
}

// chosen returns the mailboxes that listPopsWithDisk's arguments select. The fields for the disk usage are
// not set yet.
func (m *Module) chosen(ctx context.Context, call *sdk.Call) ([]measured, error) {
	matches, err := matcher(call)
	if err != nil {
		return nil, err
	}
	domain := call.String("domain")
	if domain != "" {
		if domain, err = ownDomain(call, domain); err != nil {
			return nil, err
		}
	}
	only := store.Lower(call.String("email"))
	if only != "" {
		box, err := mailbox(call)
		if err != nil {
			return nil, err
		}
		only, domain = box.Localpart, box.Domain
	}
	most, limited := call.Int("maxaccounts")
	if limited && most < 1 {
		return nil, protocol.NewError(protocol.KindInvalid, "The ‘maxaccounts’ argument must be 1 or more.")
	}
	all, err := m.all(ctx, call.Account, domain)
	if err != nil {
		return nil, err
	}
	var list []measured
	if only == "" && (domain == "" || domain == call.Account.MainDomain()) {
		list = append(list, measured{
			Mailbox: store.Mailbox{Address: store.Address{Localpart: call.Account.Name, Domain: call.Account.MainDomain()}},
			email:   mainAccount, login: call.Account.Name, user: call.Account.Name, domain: call.Account.MainDomain(),
		})
	}
	for _, b := range all {
		if only == "" || b.Localpart == only {
			list = append(list, measured{Mailbox: b, email: b.String(), login: b.String(), user: b.Localpart, domain: b.Domain})
		}
	}
	out := list[:0]
	for _, b := range list {
		ok, err := matches(b.login)
		if err != nil {
			return nil, err
		}
		if ok && (!limited || int64(len(out)) < most) {
			out = append(out, b)
		}
	}
	return out, nil
}

// share returns a mailbox's disk usage in percent of its quota, or 0 if the mailbox has no quota.
func share(b measured) float64 {
	if b.Quota == 0 {
		return 0
	}
	return float64(b.Bytes) / float64(b.Quota) * 100
}

// unknownQuota is the quota in a list if the store has no valid one.
const unknownQuota = "unknown"

// warnOfQuotas adds a warning to the result that names the mailboxes without a valid quota.
func warnOfQuotas(call *sdk.Call, list []measured) {
	const most = 5
	var names []string
	for _, b := range list {
		if b.BadQuota != "" {
			names = append(names, b.String()+" (“"+protocol.Clip(b.BadQuota, maxEchoed)+"”)")
		}
	}
	switch n := len(names); {
	case n == 0:
	case n <= most:
		call.Warn("The store has no valid quota for " + strings.Join(names, ", ") + ". Set it with edit_pop_quota.")
	default:
		call.Warn("The store has no valid quota for " + strings.Join(names[:most], ", ") + " and " + strconv.Itoa(n-most) + " other mailboxes. Set it with edit_pop_quota.")
	}
}

// diskRecord returns the record of a mailbox in the result of list_pops_with_disk. The numbers in MB and in
// bytes are strings, because a live cPanel server returns strings.
func diskRecord(call *sdk.Call, b measured, percent float64) map[string]any {
	limit, shown, human, inBytes := "unlimited", "unlimited", "None", strconv.FormatInt(b.Quota, 10)
	if b.BadQuota != "" {
		limit, shown, human, inBytes = unknownQuota, unknownQuota, unknownQuota, unknownQuota
	} else if b.Quota != 0 {
		limit, human = megabytes(b.Quota), humanBytes(b.Quota)
		shown = limit
	} else if img := call.String("infinityimg"); img != "" {
		shown = `<img src="` + html.EscapeString(img) + `" alt="unlimited" />`
	} else if call.Flag("infinitylang") {
		shown = "∞"
	}
	used := "None"
	if b.Bytes > 0 {
		used = humanBytes(b.Bytes)
	}
	r := map[string]any{
		"user": b.user, "domain": b.domain, "email": b.email, "login": b.login,
		"diskquota": shown, "txtdiskquota": limit, "_diskquota": inBytes, "humandiskquota": human,
		"diskused": megabytes(b.Bytes), "_diskused": strconv.FormatInt(b.Bytes, 10), "humandiskused": used,
		"diskusedpercent": int64(percent), "diskusedpercent20": int64(percent) / 20 * 20, "diskusedpercent_float": percent,
		"mtime":           unixTime(b.Modified),
		"suspended_login": bit(b.Suspended.Has(store.NoLogin)), "suspended_incoming": bit(b.Suspended.Has(store.Incoming)),
	}
	if call.Flag("get_restrictions") {
		r["suspended_outgoing"], r["hold_outgoing"] = bit(b.Suspended.Has(store.Outgoing)), bit(b.Suspended.Has(store.Hold))
		r["has_suspended"] = bit(b.Suspended.Has(store.NoLogin | store.Incoming | store.Outgoing | store.Hold))
	}
	return r
}

func unixTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// megabytes formats n bytes as a number of MB with two decimals.
func megabytes(n int64) string { return strconv.FormatFloat(float64(n)/mib, 'f', 2, 64) }

// humanBytes formats n bytes for people, with a no-break space before the unit, as cPanel does: 483 bytes,
// 1.5 GB.
func humanBytes(n int64) string {
	const space = "\u00a0"
	if n < 1024 {
		return strconv.FormatInt(n, 10) + space + "bytes"
	}
	value := float64(n)
	for _, unit := range []string{"KB", "MB", "GB", "TB", "PB"} {
		if value /= 1024; value < 1024 || unit == "PB" {
			text := strings.TrimRight(strings.TrimRight(strconv.FormatFloat(value, 'f', 2, 64), "0"), ".")
			return text + space + unit
		}
	}
	return ""
}

// getDiskUsage returns the disk usage of a single mailbox.
func (m *Module) getDiskUsage(ctx context.Context, call *sdk.Call) (any, error) {
	param, name, domain := "user", call.String("user"), call.String("domain")
	if name == "" && call.Has("login") {
		param, name = "login", call.String("login")
	}
	if name != "" && domain == "" && !strings.Contains(name, "@") && store.Lower(name) != store.Lower(call.Account.Name) {
		return nil, protocol.Missing("domain")
	}
	main := call.Account.MainDomain()
	if own := store.Lower(call.Account.Name); store.Lower(name) == own && (domain == "" || ascii(domain) == main) || store.Lower(name) == own+"@"+main {
		n, err := m.mainUsage(ctx, call)
		if err != nil {
			return nil, err
		}
		used, _ := strconv.ParseFloat(megabytes(n.(int64)), 64)
		return map[string]any{"diskused": used, "domain": main, "login": call.Account.Name, "user": call.Account.Name}, nil
	}
	box, err := mailboxOf(call, name, domain, param)
	if err != nil {
		return nil, err
	}
	s := m.store(call.Account)
	if _, err := s.Mailbox(ctx, box); err != nil {
		return nil, public(box, err, "The mail could not be measured")
	}
	usage, err := s.Usage(ctx, box)
	if err != nil {
		return nil, public(box, err, "The mail could not be measured")
	}
	used, _ := strconv.ParseFloat(megabytes(usage.Bytes), 64)
	return map[string]any{"diskused": used, "domain": box.Domain, "login": box.String(), "user": box.Localpart}, nil
}

// clearCache makes the store measure a mailbox again.
func (m *Module) clearCache(ctx context.Context, call *sdk.Call) (any, error) {
	box, err := mailboxOf(call, call.String("username"), "", "username")
	if err != nil {
		return nil, err
	}
	if err := m.store(call.Account).Recount(ctx, box); err != nil {
		return nil, public(box, err, "The mail could not be measured")
	}
	return nil, nil
}

// checkSize returns an error if a list would exceed the size limits of an answer. records is the number of
// records, fields the number of fields in each record, and bytes the total size of all values.
func checkSize(records, fields, bytes int) error {
	if records*(fields+1) < protocol.MaxResultNodes*9/10 && bytes < protocol.MaxWorkerMessage*9/10 {
		return nil
	}
	return protocol.NewError(protocol.KindFailed, "There are "+strconv.Itoa(records)+" mailboxes, which are too many for one list."+
		" Select fewer mailboxes with the ‘regex’ argument, or with the ‘domain’ or ‘maxaccounts’ argument if the function has it.")
}

func (m *Module) mainUsage(ctx context.Context, call *sdk.Call) (any, error) {
	usage, err := m.store(call.Account).MainUsage(ctx)
	if err != nil {
		return nil, public(store.Address{Domain: call.Account.MainDomain()}, err, "The mail could not be measured")
	}
	return usage.Bytes, nil
}

func (m *Module) mainUsageText(ctx context.Context, call *sdk.Call) (any, error) {
	n, err := m.mainUsage(ctx, call)
	if err != nil {
		return nil, err
	}
	return humanBytes(n.(int64)), nil
}
