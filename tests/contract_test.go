package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/liveapid/liveapid/host/config"
	"github.com/liveapid/liveapid/host/hosttest"
	"github.com/liveapid/liveapid/host/identity/account"
	"github.com/liveapid/liveapid/protocol"
)

// documented is a function of UAPI in the published description.
type documented struct {
	params   map[string]bool // Whether each parameter is required.
	data     shape
	metadata string
}

// shape is a documented type: one of several alternatives. An alternative is a scalar, an object or a list.
type shape []alternative

type alternative struct {
	scalar string           // string, integer, number, object (without fields), any or -.
	fields map[string]shape // An object.
	item   shape            // A list.
}

// shapeParser parses the types in testdata/contract/uapi.tsv.
type shapeParser struct{ rest string }

func (p *shapeParser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *shapeParser) shape() (s shape) {
	for {
		s = append(s, p.alternative())
		if !p.take(" | ") {
			return s
		}
	}
}

func (p *shapeParser) alternative() alternative {
	switch {
	case p.take("["):
		a := alternative{item: p.shape()}
		p.take("]")
		return a
	case p.take("{"):
		a := alternative{fields: map[string]shape{}}
		for !p.take("}") {
			name, rest, _ := strings.Cut(p.rest, ": ")
			p.rest = rest
			a.fields[name] = p.shape()
			p.take(", ")
		}
		return a
	}
	word := regexp.MustCompile(`^(-|[a-z]+)`).FindString(p.rest)
	p.rest = p.rest[len(word):]
	if strings.HasPrefix(p.rest, "(") {
		p.rest = p.rest[strings.Index(p.rest, ")")+1:]
	}
	return alternative{scalar: word}
}

// readContract reads the published descriptions of the functions.
func readContract(t *testing.T) map[string]documented {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(hosttest.Root(t), "testdata", "contract", "uapi.tsv"))
	require.NoError(t, err)
	out := make(map[string]documented)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		d := documented{params: make(map[string]bool), metadata: fields[3]}
		for _, param := range strings.Split(fields[1], "; ") {
			if name, _, ok := strings.Cut(param, ":"); ok {
				d.params[strings.Trim(name, "!*")] = strings.Contains(name, "!")
			}
		}
		parser := &shapeParser{fields[2]}
		d.data = parser.shape()
		require.Empty(t, parser.rest, "%s: the type can't be parsed", fields[0])
		out[fields[0]] = d
	}
	return out
}

// differs returns how value differs from all alternatives of s, compared with the alternative that fits best.
func (s shape) differs(path string, value any) []string {
	var best []string
	for i, a := range s {
		if d := a.differs(path, value); i == 0 || len(d) < len(best) {
			best = d
		}
	}
	return best
}

func (a alternative) differs(path string, value any) (out []string) {
	wrong := []string{fmt.Sprintf("%s: %T", path, value)}
	switch {
	case a.item != nil:
		list, ok := value.([]any)
		if !ok {
			return wrong
		}
		for _, item := range list {
			out = append(out, a.item.differs(path+"[]", item)...)
		}
	case a.fields != nil:
		object, ok := value.(map[string]any)
		if !ok {
			return wrong
		}
		if free, is := a.fields["additionalProperties"]; is {
			for name, v := range object {
				out = append(out, free.differs(path+"."+name, v)...)
			}
			return out
		}
		for name, s := range a.fields {
			if v, there := object[name]; there {
				out = append(out, s.differs(path+"."+name, v)...)
			} else {
				out = append(out, path+"."+name+": missing")
			}
		}
		for name := range object {
			if a.fields[name] == nil {
				out = append(out, path+"."+name+": not documented")
			}
		}
	case a.scalar == "string":
		if _, ok := value.(string); !ok {
			return wrong
		}
	case a.scalar == "integer":
		if n, ok := value.(json.Number); !ok || strings.ContainsAny(n.String(), ".eE") {
			return wrong
		}
	case a.scalar == "number":
		if _, ok := value.(json.Number); !ok {
			return wrong
		}
	case a.scalar == "object", a.scalar == "-": // Without fields: the function returns nothing.
		if _, ok := value.(map[string]any); !ok && value != nil {
			return wrong
		}
	}
	return out
}

// contractArgs are arguments with which each function with required parameters succeeds. The functions are
// called in the order of their names, and setup creates what they need.
var contractArgs = map[string]string{
	"Batch::strict":                         `{"command":["[\"Email\",\"count_pops\"]"]}`,
	"Chrome::get_dom":                       `{"page_title":"x"}`,
	"DomainInfo::single_domain_data":        `{"domain":"example.com","return_https_redirect_status":"1"}`,
	"Email::add_pop":                        `{"email":"new","password":"A g00d 0ne, really","domain":"example.com"}`,
	"Email::delete_held_messages":           `{"email":"user@example.com"}`,
	"Email::delete_pop":                     `{"email":"new@example.com"}`,
	"Email::dispatch_client_settings":       `{"account":"user@example.com","to":"a@example.com"}`,
	"Email::edit_pop_quota":                 `{"email":"user","domain":"example.com","quota":"0"}`,
	"Email::get_disk_usage":                 `{"user":"user","domain":"example.com"}`,
	"Email::get_held_message_count":         `{"email":"user@example.com"}`,
	"Email::get_pop_quota":                  `{"email":"limited@example.com"}`,
	"Email::hold_outgoing":                  `{"email":"user@example.com"}`,
	"Email::list_mail_domains":              `{"select":"example.com"}`,
	"Email::list_pops_with_disk":            `{"get_restrictions":"1"}`,
	"Email::passwd_pop":                     `{"email":"user@example.com","password":"A g00d 0ne, really"}`,
	"Email::release_outgoing":               `{"email":"user@example.com"}`,
	"Email::suspend_incoming":               `{"email":"user@example.com"}`,
	"Email::suspend_login":                  `{"email":"user@example.com"}`,
	"Email::suspend_outgoing":               `{"email":"user@example.com"}`,
	"Email::unsuspend_incoming":             `{"email":"user@example.com"}`,
	"Email::unsuspend_login":                `{"email":"user@example.com"}`,
	"Email::unsuspend_outgoing":             `{"email":"user@example.com"}`,
	"Email::verify_password":                `{"email":"user@example.com","password":"x"}`,
	"Features::has_feature":                 `{"name":"popaccts"}`,
	"PasswdStrength::get_required_strength": `{"app":"pop"}`,
	"Personalization::get":                  `{"names":["a"]}`,
	"Personalization::set":                  `{"personalization":{"a":"b"}}`,
	"DomainInfo::domains_data":              `{"return_https_redirects_status":"1"}`,
	"StatsBar::get_stats":                   `{"display":"emailaccounts|diskusage"}`,
	"Tokens::create_full_access":            `{"name":"a"}`,
	"Tokens::rename":                        `{"name":"a","new_name":"b"}`,
	"Tokens::revoke":                        `{"name":"b"}`,
}

// deviations lists how the answers differ from the published description on purpose, with the reason. A key
// may end in * to stand for all longer ones.
var deviations = map[string]string{
	"Batch::strict[]*":                               "The data of a result is what the called function returns, and a list without texts is null.",
	"Chrome::get_dom(app_key): not documented":       "The method header of the LiveAPI classes sends it.",
	"Chrome::get_dom(page_title): required is false": "The method header may be called without a title.",

	"DomainInfo::domains_data.main_domain: map[string]interface {}":      "Live servers answer an object, and clients read one.",
	"DomainInfo::list_domains.main_domain: string":                       "Live servers answer a text, and clients read one.",
	"DomainInfo::single_domain_data.customlog: missing":                  "The host has no web server with logs.",
	"DomainInfo::single_domain_data.ifmodulemodsuphpc: missing":          "The host has no web server with modules.",
	"DomainInfo::single_domain_data.options: missing":                    "The host has no web server with options.",
	"DomainInfo::single_domain_data.phpopenbasedirprotect: missing":      "The host has no web server with PHP.",
	"DomainInfo::single_domain_data.port: missing":                       "The host has no web server.",
	"DomainInfo::single_domain_data.scriptalias: missing":                "The host has no web server with scripts.",
	"DomainInfo::domains_data.addon_domains[].ipv6: missing":             "The host does not know the addresses of web sites.",
	"DomainInfo::domains_data.addon_domains[].no_cache_update: missing":  "The host has no web server with a cache.",
	"DomainInfo::domains_data.parked_domains[].ipv6: missing":            "The host does not know the addresses of web sites.",
	"DomainInfo::domains_data.parked_domains[].no_cache_update: missing": "The host has no web server with a cache.",
	"DomainInfo::domains_data.sub_domains[].ipv6: missing":               "The host does not know the addresses of web sites.",
	"DomainInfo::domains_data.sub_domains[].no_cache_update: missing":    "The host has no web server with a cache.",

	"Email::add_pop(password): required is false":            "password_hash may be given instead.",
	"Email::edit_pop_quota(domain): required is false":       "A whole address contains the domain.",
	"Email::get_disk_usage(domain): required is false":       "A whole address contains the domain.",
	"Email::delete_held_messages: failed*":                   "The test's host has no mail queue, from which something could be deleted.",
	"Email::dispatch_client_settings: failed*":               "The test's host has no mail server.",
	"Email::terminate_mailbox_sessions: failed*":             "The test's host has no mail server.",
	"Email::get_client_settings.activesync*":                 "The host has no ActiveSync, so the fields have no value.",
	"Email::get_held_message_count(email): required is true": "The documentation's text says which mailbox is meant; without one there is no answer.",
	"Email::suspend_incoming(email): required is true":       "Without a mailbox there is nothing to suspend.",
	"Email::unsuspend_incoming(email): required is true":     "Without a mailbox there is nothing to do.",
	"Email::unsuspend_login(email): required is true":        "Without a mailbox there is nothing to do.",
	"Email::list_mail_domains[].select: missing":             "Only the selected domain has the field.",
	"Email::list_pops_with_disk[]._diskquota: string":        "Live servers send text.",
	"Email::list_pops_with_disk[]._diskused: string":         "Live servers send text.",
	"Email::list_pops_with_disk[].diskused: string":          "Live servers send text.",

	"LiveAPI::list_functions: not documented":               "The command lines use it for help; it is this host's own.",
	"NVData::get: not documented":                           "Plugins in the field call it; the documentation describes the same function of API 2.",
	"NVData::set: not documented":                           "Plugins in the field call it; the documentation describes the same function of API 2.",
	"Personalization::get(names): not documented":           "The documentation describes it as the body of a POST request.",
	"Personalization::set(personalization): not documented": "The documentation describes it as the body of a POST request.",
}

// Each function of UAPI that is served has the parameters and the results of the published description.
func TestContract(t *testing.T) {
	contract := readContract(t)
	w := hosttest.Sandbox(t)
	// The account has a domain of each kind, and all facts that an account's file may contain.
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "accounts", "demo.toml"), []byte(`home = "home/demo"
domains = ["example.com", "addon.example", "alias.example", "shop.example.com"]
contact = "me@example.net"
[sites."addon.example"]
kind = "addon"
`), 0o644))
	rt := w.Start(t, func(c *config.Config) { c.Web.CPanel = "127.0.0.1:0" }) // The module Tokens belongs to the HTTPS API.
	ask := func(module, name string, args string) map[string]any {
		t.Helper()
		cmd := w.Command(t, "uapi", "--output=json", "--input=json", module, name)
		cmd.Stdin = strings.NewReader(args)
		decoder := json.NewDecoder(strings.NewReader(hosttest.Output(t, cmd)))
		decoder.UseNumber()
		var answer map[string]any
		require.NoError(t, decoder.Decode(&answer))
		result, _ := answer["result"].(map[string]any)
		return result
	}
	ask("Email", "add_pop", `{"email":"limited","password":"A g00d 0ne, really","domain":"example.com","quota":"5"}`)

	var found []string
	a, err := account.NewDir(filepath.Join(w.Dir, "accounts"), true).ByName("demo")
	require.NoError(t, err)
	modules, missing := rt.Host.Modules(t.Context(), a)
	require.Empty(t, missing)
	for _, m := range modules {
		for _, f := range m.Functions {
			if f.API != protocol.UAPI || !slices.Contains(f.Roles, protocol.RoleAccount) {
				continue
			}
			name := m.Name + "::" + f.Name
			d, ok := contract[name]
			if !ok {
				found = append(found, name+": not documented")
				continue
			}
			for _, p := range f.Params {
				required, there := d.params[p.Name]
				switch {
				case !there:
					found = append(found, name+"("+p.Name+"): not documented")
				case required != p.Required:
					found = append(found, fmt.Sprintf("%s(%s): required is %t", name, p.Name, p.Required))
				}
			}
			for param := range d.params {
				if !slices.ContainsFunc(f.Params, func(p protocol.Param) bool { return p.Name == param }) {
					found = append(found, name+"("+param+"): missing")
				}
			}
			args := contractArgs[name]
			if args == "" {
				args = "{}"
			}
			result := ask(m.Name, f.Name, args)
			if fmt.Sprint(result["status"]) != "1" {
				found = append(found, fmt.Sprintf("%s: failed: %v", name, result["errors"]))
				continue
			}
			found = append(found, d.data.differs(name, result["data"])...)
			metadata, _ := result["metadata"].(map[string]any)
			if transformed := metadata["transformed"] != nil; transformed != strings.Contains(d.metadata, "transformed") {
				found = append(found, fmt.Sprintf("%s metadata: transformed is %t", name, transformed))
			}
		}
	}
	slices.Sort(found)
	used := make(map[string]bool)
	for _, difference := range slices.Compact(found) {
		key := deviationFor(difference)
		require.NotEmpty(t, key, "not on the list of deviations: %s", difference)
		used[key] = true
	}
	for key := range deviations {
		require.True(t, used[key], "no such deviation any more: %s", key)
	}
}

// deviationFor returns the key of deviations that covers a difference, or "".
func deviationFor(difference string) string {
	for key := range deviations {
		if prefix, ok := strings.CutSuffix(key, "*"); key == difference || ok && strings.HasPrefix(difference, prefix) {
			return key
		}
	}
	return ""
}
