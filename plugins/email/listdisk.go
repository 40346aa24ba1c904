package email

import (
	"context"
	"html"
	"strconv"
	"strings"
	"time"

	"github.com/liveapid/liveapid/plugins/email/store"
	"github.com/liveapid/liveapid/plugins/sdk"
	"github.com/liveapid/liveapid/protocol"
)

// listPopsWithDisk lists the mailboxes with their quotas and their disk usage.
func (m *Module) listPopsWithDisk(ctx context.Context, call *sdk.Call) (any, error) {
	list, err := m.chosenWithDisk(ctx, call)
	if err != nil {
		return nil, err
	}
	warnOfQuotas(call, list)
	var usages []store.Usage // Nil until they are read.
	if call.Flag("no_disk") {
		usages = make([]store.Usage, list.len())
	}
	if call.Flag("nearquotaonly") {
		if usages == nil {
			if usages, err = m.usages(ctx, list, nil); err != nil {
				return nil, err
			}
		}
		usages = nearQuota(list, usages)
	}
	transformed(call)
	known := knownFields()
	return &sdk.List{
		Len: list.len(), Columns: known,
		Field: func(i int, column string) any {
			switch column {
			case "user":
				return list.box(i).Localpart
			case "domain":
				return list.box(i).Domain
			case "email":
				return list.email(i)
			case "login":
				return list.login(i)
			}
			return diskRecord(call, list, i, store.Usage{})[column]
		},
		Make: func(i int) map[string]any { return diskRecord(call, list, i, usages[i]) },
		Prepare: func(ctx context.Context, numbers []int) (err error) {
			if err := checkDiskSize(list, numbers); err != nil {
				return err
			}
			if usages == nil {
				usages, err = m.usages(ctx, list, numbers)
			}
			return err
		},
	}, nil
}

// knownFields are the fields of diskRecord that do not depend on the disk usage.
func knownFields() []string {
	return []string{
		"user", "domain", "email", "login", "diskquota", "txtdiskquota", "_diskquota", "humandiskquota",
		"suspended_login", "suspended_incoming", "suspended_outgoing", "hold_outgoing", "has_suspended",
	}
}

// checkDiskSize returns an error if the records with the given numbers, or all if numbers is nil, are too large for an
// answer.
func checkDiskSize(list *chosen, numbers []int) error {
	n, size := list.len(), 0
	if numbers != nil {
		n = len(numbers)
	}
	for k := range n {
		i := k
		if numbers != nil {
			i = numbers[k]
		}
		size += 3*list.size(i) + 85
	}
	return checkSize(n, 20, size)
}

// nearQuota keeps the mailboxes that use 95 % or more of their quota, and returns their usages.
func nearQuota(list *chosen, usages []store.Usage) []store.Usage {
	want, kept := make([]bool, len(usages)), usages[:0]
	for i, usage := range usages {
		if want[i] = share(list.box(i), usage) >= 95; want[i] {
			kept = append(kept, usage)
		}
	}
	list.keep(want)
	return kept
}

// chosenWithDisk returns the mailboxes that listPopsWithDisk's arguments select.
func (m *Module) chosenWithDisk(ctx context.Context, call *sdk.Call) (*chosen, error) {
	domain := call.String("domain")
	if domain != "" {
		var err error
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
	main := only == "" && (domain == "" || domain == call.Account.MainDomain())
	list, err := m.chosen(ctx, call, domain, only, main)
	if err == nil && limited {
		list.first(int(min(most, 1<<30)))
	}
	return list, err
}

// share returns a mailbox's disk usage in percent of its quota, or 0 if the mailbox has no quota.
func share(b store.Mailbox, usage store.Usage) float64 {
	if b.Quota == 0 {
		return 0
	}
	return float64(usage.Bytes) / float64(b.Quota) * 100
}

// unknownQuota is the quota in a list if the store has no valid one.
const unknownQuota = "unknown"

// warnOfQuotas adds a warning to the result that names the mailboxes without a valid quota.
func warnOfQuotas(call *sdk.Call, list *chosen) {
	const most = 5
	var names []string
	for _, b := range list.boxes {
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
func diskRecord(call *sdk.Call, list *chosen, i int, usage store.Usage) map[string]any {
	b := list.box(i)
	percent := share(b, usage)
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
	if usage.Bytes > 0 {
		used = humanBytes(usage.Bytes)
	}
	r := map[string]any{
		"user": b.Localpart, "domain": b.Domain, "email": list.email(i), "login": list.login(i),
		"diskquota": shown, "txtdiskquota": limit, "_diskquota": inBytes, "humandiskquota": human,
		"diskused": megabytes(usage.Bytes), "_diskused": strconv.FormatInt(usage.Bytes, 10), "humandiskused": used,
		"diskusedpercent": int64(percent), "diskusedpercent20": int64(percent) / 20 * 20, "diskusedpercent_float": percent,
		"mtime":           unixTime(usage.Modified),
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
