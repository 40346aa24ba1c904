package builtin

import (
	"context"
	"html"
	"strings"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// Chrome serves the module Chrome, which returns the frame of a page; the header and footer functions of the
// bindings print it. In cPanel, the frame is part of cPanel's theme. This frame is plain HTML without a style
// sheet, because the page of a plugin includes its own style sheet.
type Chrome struct{}

var (
	_ host.Plugin        = Chrome{}
	_ host.StaticModules = Chrome{}
)

// Serves implements host.StaticModules.
func (Chrome) Serves() []string { return []string{"Chrome"} }

// Modules implements host.Plugin.
func (Chrome) Modules(context.Context, protocol.Account) ([]protocol.Module, error) {
	return []protocol.Module{{
		Name: "Chrome", Help: "The frame of a plugin's page.",
		Functions: []protocol.Function{{
			API: protocol.UAPI, Name: "get_dom", Roles: []protocol.Role{protocol.RoleAccount},
			Help:    "Return the HTML that a page begins and ends with.",
			Returns: "The texts header and footer.",
			Params: []protocol.Param{
				{Name: "page_title", Help: "The page's title."},
				{Name: "app_key", Help: "The application's key; it becomes the body's class."},
			},
		}},
	}}, nil
}

// Call implements host.Plugin.
func (Chrome) Call(_ context.Context, r host.Request) (*protocol.Result, error) {
	call := r.Call
	title, _ := call.Args.Named["page_title"].(string)
	key, _ := call.Args.Named["app_key"].(string)
	return &protocol.Result{Data: map[string]any{"header": header(title, key), "footer": footer}}, nil
}

const footer = "</main>\n</body>\n</html>\n"

func header(title, key string) string {
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>")
	b.WriteString(html.EscapeString(title))
	b.WriteString("</title>\n</head>\n<body")
	if key != "" {
		b.WriteString(` class="` + html.EscapeString(key) + `"`)
	}
	b.WriteString(">\n<main>\n")
	if title != "" {
		b.WriteString("<h1>" + html.EscapeString(title) + "</h1>\n")
	}
	return b.String()
}
