package email

import (
	"context"
	"regexp"
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
	domains := account.Domains
	if domain != "" {
		domains = []string{domain}
	}
	list, err := m.store(account).List(ctx, domains...)
	if err != nil {
		return nil, publicAt(store.Address{Domain: domain}, err, "The mailboxes could not be listed")
	}
	return list, nil
}

// count returns the number of mailboxes of the account.
func (m *Module) count(ctx context.Context, account protocol.Account) (int, error) {
	n, err := m.store(account).Count(ctx, account.Domains...)
	if err != nil {
		return 0, publicAt(store.Address{Domain: account.MainDomain()}, err, "The mailboxes could not be counted")
	}
	return n, nil
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
	list, err := m.chosen(ctx, call, "", "", !call.Flag("skip_main"))
	if err != nil {
		return nil, err
	}
	size := 0
	for i := range list.len() {
		size += 2*list.size(i) + 8
	}
	if err := checkSize(list.len(), 5, size); err != nil {
		return nil, err
	}
	transformed(call)
	field := func(i int, column string) any {
		switch box := list.box(i); column {
		case "email":
			return list.login(i)
		case "login":
			return list.email(i)
		case "suspended_login":
			return bit(box.Suspended.Has(store.NoLogin))
		default: // suspended_incoming
			return bit(box.Suspended.Has(store.Incoming))
		}
	}
	columns := []string{"email", "login", "suspended_login", "suspended_incoming"}
	return &sdk.List{Len: list.len(), Columns: columns, Field: field, Make: func(i int) map[string]any {
		record := make(map[string]any, len(columns))
		for _, column := range columns {
			record[column] = field(i, column)
		}
		return record
	}}, nil
}

// transformed sets the metadata that UAPI returns with every list.
func transformed(call *sdk.Call) {
	if call.API == protocol.UAPI {
		call.Metadata = map[string]any{"transformed": 1}
	}
}

// withImage adds the field image, which only listpopswithimage returns and which is always empty.
func withImage(v any) any {
	list, ok := v.(*sdk.List)
	if !ok {
		return v
	}
	return list.Map(func(record map[string]any) { record["image"] = "" })
}

// countPops counts the mailboxes. The account's own mailbox is not counted.
func (m *Module) countPops(ctx context.Context, call *sdk.Call) (any, error) {
	n, err := m.count(ctx, call.Account)
	transformed(call)
	return n, err
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
