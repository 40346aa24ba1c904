package accountinfo

import (
	"context"
	"html"
	"math"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// stat is one item of StatsBar. An item has either a count and a limit, or a text.
type stat struct {
	phrase, module, feature, role string
	// count returns the used amount; known is false if it can't be found now.
	count func(s *statCall) (used float64, known bool)
	limit func(s *statCall) float64 // 0 means unlimited.
	units string
	text  func(s *statCall) string
}

// statCall is a call of StatsBar, with the answers of the calls that it makes itself.
type statCall struct {
	p      *Plugin
	ctx    context.Context
	caller protocol.Caller
	quota  map[string]any // The answer of Quota::get_local_quota_info; nil until it was asked for.
	asked  bool
}

// call returns the data of a UAPI function of the same account, or nil if the function fails.
func (s *statCall) call(module, name string) any {
	result := s.p.o.Do(s.ctx, s.caller, protocol.Call{API: protocol.UAPI, Module: module, Func: name, Args: protocol.Args{Named: map[string]any{}}})
	if result.Err != nil {
		return nil
	}
	return result.Data
}

// disk returns a number of the account's disk use or quota.
func (s *statCall) disk(field string) (float64, bool) {
	if !s.asked {
		s.quota, _ = s.call("Quota", "get_local_quota_info").(map[string]any)
		s.asked = true
	}
	n, ok := protocol.WholeNumber(s.quota[field])
	return float64(n), ok
}

const mib = 1 << 20

func limitOf(fact string) func(*statCall) float64 {
	return func(s *statCall) float64 { return float64(whole(s.caller.Account.Data[fact])) }
}

func domainsOf(kind protocol.SiteKind) func(*statCall) (float64, bool) {
	return func(s *statCall) (float64, bool) { return float64(len(s.caller.Account.DomainsOf(kind))), true }
}

// stats returns all items by their id.
func stats() map[string]stat {
	fact := func(phrase string, text func(*statCall) string) stat { return stat{phrase: phrase, text: text} }
	return map[string]stat{
		"emailaccounts": {
			phrase: "Email Accounts", module: "Email", feature: "popaccts", role: "MailReceive", limit: limitOf("MAXPOP"),
			count: func(s *statCall) (float64, bool) {
				n, ok := protocol.WholeNumber(s.call("Email", "count_pops"))
				return float64(n), ok
			},
		},
		"addondomains":  {phrase: "Addon Domains", module: "AddonDomain", feature: "addondomains", role: "WebServer", count: domainsOf(protocol.AddonSite), limit: limitOf("MAXADDON")},
		"parkeddomains": {phrase: "Aliases", module: "Park", feature: "parkeddomains", role: "WebServer", count: domainsOf(protocol.ParkedSite), limit: limitOf("MAXPARK")},
		"subdomains":    {phrase: "Subdomains", module: "SubDomain", feature: "subdomains", role: "WebServer", count: domainsOf(protocol.SubSite), limit: limitOf("MAXSUB")},
		"diskusage": {
			phrase: "Disk Usage", module: "Quota", role: "FileStorage", units: "MB",
			count: func(s *statCall) (float64, bool) { n, ok := s.disk("bytes_used"); return n / mib, ok },
			limit: func(s *statCall) float64 { n, _ := s.disk("byte_limit"); return n / mib },
		},
		"filesusage": {
			phrase: "File Usage", module: "Quota", role: "FileStorage",
			count: func(s *statCall) (float64, bool) { return s.disk("inodes_used") },
			limit: func(s *statCall) float64 { n, _ := s.disk("inode_limit"); return n },
		},
		"hostname":      fact("Server Name", func(s *statCall) string { return s.p.o.Hostname() }),
		"shorthostname": fact("Server Name", func(s *statCall) string { name, _, _ := strings.Cut(s.p.o.Hostname(), "."); return name }),
		"cpanelversion": fact("cPanel Version", func(s *statCall) string { return s.p.o.APILevel }),
		"theme":         fact("cPanel Theme", func(s *statCall) string { return ThemeOf(s.caller.Account) }),
		"hostingpackage": fact("Hosting package", func(s *statCall) string {
			if plan := s.caller.Account.Data["PLAN"]; plan != "" {
				return plan
			}
			return "default"
		}),
		"sharedip":        fact("Shared IP Address", func(s *statCall) string { return s.caller.Account.Data["IP"] }),
		"operatingsystem": fact("Operating System", func(*statCall) string { return runtime.GOOS }),
		"machinetype":     fact("Architecture", func(*statCall) string { return machine().arch }),
		"kernelversion":   fact("Kernel Version", func(*statCall) string { return machine().release }),
	}
}

// machine returns the kernel's version and the architecture, as uname prints them.
func machine() (m struct{ arch, release string }) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.arch, m.release = unix.ByteSliceToString(u.Machine[:]), unix.ByteSliceToString(u.Release[:])
	}
	return m
}

// maxStats is the maximum number of items in a call.
const maxStats = 100

func (p *Plugin) statsBar() []function {
	params := func(infinityLang protocol.Param) []protocol.Param {
		return []protocol.Param{
			{Name: "display", Required: true, Help: "The items to show, separated by |, such as emailaccounts|diskusage."},
			{Name: "infinityimg", Help: "The path of an image for no limit."}, infinityLang,
			{Name: "rowcounter", Help: "The first row's type: even or odd (the default)."},
			{Name: "warninglevel", Help: "With warnings: the percentage from which an item is returned. Default: 80."},
			{Name: "warnings", Type: protocol.TypeFlag, Help: "Return only the items that are near their limit."},
			{Name: "warnout", Type: protocol.TypeFlag, Help: "Accepted for compatibility."},
		}
	}
	lang := protocol.Param{Name: "infinitylang", Help: "If it is set: ∞ for no limit."}
	returns := "A record for each item that is known: id, count, max, percent and others, or value."
	return []function{
		uapi("get_stats", "Show what the account uses, and its limits.", returns, p.getStats, params(lang)...),
		api2("stat", "Show what the account uses, and its limits.", returns, p.getStats, params(lang)...),
	}
}

func (p *Plugin) getStats(ctx context.Context, r host.Request) (*protocol.Result, error) {
	s := &statCall{p: p, ctx: ctx, caller: r.Caller}
	level := 80.0
	if given := text(r, "warninglevel"); given != "" && given != "high" { // The documentation's example says high.
		n, err := strconv.ParseFloat(given, 64)
		if err != nil || math.IsNaN(n) {
			return invalid("The ‘warninglevel’ argument must be a percentage, such as 80.")
		}
		level = n
	}
	ids := strings.Split(text(r, "display"), "|")
	if len(ids) > maxStats {
		return invalid("The ‘display’ argument names more than " + strconv.Itoa(maxStats) + " items.")
	}
	known := stats()
	result := &protocol.Result{}
	out := []any{}
	even := text(r, "rowcounter") == "even"
	for _, id := range ids {
		id = strings.TrimSpace(id)
		item, ok := known[id]
		if !ok {
			result.Warnings = append(result.Warnings, "The item “"+protocol.Clip(id, 64)+"” is not known to this server.")
			continue
		}
		record, percent, ok := item.record(s, id, r)
		if !ok || text(r, "warnings") == "1" && percent < level {
			continue
		}
		record["rowtype"] = map[bool]string{true: "even", false: "odd"}[even]
		even = !even
		out = append(out, record)
	}
	result.Data = out
	return result, nil
}

// record returns the record of an item, and the used share of its limit in percent. ok is false if the item
// can't be shown.
func (item stat) record(s *statCall, id string, r host.Request) (_ map[string]any, percent float64, ok bool) {
	record := map[string]any{
		"id": id, "name": id, "item": item.phrase, "phrase": item.phrase, "module": item.module, "feature": item.feature, "role": item.role,
		"units": item.units, "condition": int64(1), "normalized": flag(item.units != ""), "zeroisunlimited": int64(0),
	}
	if item.text != nil {
		record["value"] = item.text(s)
		return record, 0, true
	}
	used, known := item.count(s)
	if !known || item.feature != "" && !s.caller.Account.HasFeature(item.feature) {
		return nil, 0, false
	}
	limit := item.limit(s)
	shown := func(n float64) string {
		if item.units == "" {
			return strconv.FormatFloat(n, 'f', 0, 64)
		}
		return strconv.FormatFloat(n, 'f', 2, 64)
	}
	unit := ""
	if item.units != "" {
		unit = "\u00a0" + item.units
	}
	most, plain, maxed := "unlimited", "unlimited", false
	switch {
	case limit > 0:
		percent, maxed = min(100, used/limit*100), used >= limit
		plain = shown(limit)
		most = plain + unit
	case text(r, "infinityimg") != "":
		most = `<img src="` + html.EscapeString(text(r, "infinityimg")) + `" alt="unlimited" />`
	case text(r, "infinitylang") != "" && text(r, "infinitylang") != "0":
		most = "∞"
	}
	near := item.phrase + ": " + shown(used) + unit + " of " + most
	for name, value := range map[string]any{
		"count": shown(used) + unit, "_count": shown(used), "max": most, "_max": plain, "_maxed": flag(maxed), "is_maxed": flag(maxed),
		"percent": int64(percent), "percent5": int64(percent) / 5 * 5, "percent10": int64(percent) / 10 * 10, "percent20": int64(percent) / 20 * 20,
		"maxed_phrase": "The limit is reached. " + near, "near_limit_phrase": near,
	} {
		record[name] = value
	}
	return record, percent, true
}
