package accountinfo

import (
	"cmp"
	"context"
	"slices"

	"github.com/liveapid/liveapid/host"
	"github.com/liveapid/liveapid/protocol"
)

// locales lists the languages of cPanel's interface: the tag, the English name and the language's own name.
var locales = []struct{ tag, name, own string }{
	{"ar", "Arabic", "العربية"}, {"bg", "Bulgarian", "български"}, {"cs", "Czech", "čeština"}, {"da", "Danish", "dansk"},
	{"de", "German", "Deutsch"}, {"el", "Greek", "Ελληνικά"}, {"en", "English", "English"}, {"es", "Spanish", "español"},
	{"es_419", "Latin American Spanish", "español latinoamericano"}, {"es_es", "Iberian Spanish", "español de España"},
	{"fi", "Finnish", "suomi"}, {"fil", "Filipino", "Filipino"}, {"fr", "French", "français"}, {"he", "Hebrew", "עברית"},
	{"hu", "Hungarian", "magyar"}, {"id", "Indonesian", "Bahasa Indonesia"}, {"it", "Italian", "italiano"}, {"ja", "Japanese", "日本語"},
	{"ko", "Korean", "한국어"}, {"ms", "Malay", "Bahasa Melayu"}, {"nb", "Norwegian Bokmål", "norsk bokmål"}, {"nl", "Dutch", "Nederlands"},
	{"no", "Norwegian", "norsk"}, {"pl", "Polish", "polski"}, {"pt", "Portuguese", "português"},
	{"pt_br", "Brazilian Portuguese", "português do Brasil"}, {"ro", "Romanian", "română"}, {"ru", "Russian", "русский"},
	{"sl", "Slovenian", "slovenščina"}, {"sv", "Swedish", "svenska"}, {"th", "Thai", "ไทย"}, {"tr", "Turkish", "Türkçe"},
	{"uk", "Ukrainian", "українська"}, {"vi", "Vietnamese", "Tiếng Việt"}, {"zh", "Chinese", "中文"},
	{"zh_cn", "Chinese (China)", "中文（中国）"}, {"zh_tw", "Chinese (Taiwan)", "中文（台湾）"},
}

// rightToLeft lists the locales that are written from right to left.
var rightToLeft = []string{"ar", "he"}

func localeFunctions() []function {
	attributes := uapi("get_attributes", "Show the account's locale.", "An object with locale, name, encoding and direction.",
		func(_ context.Context, r host.Request) (*protocol.Result, error) {
			tag := LocaleOf(r.Caller.Account)
			return data(map[string]any{"locale": tag, "name": localeName(tag), "encoding": "utf-8", "direction": direction(tag)})
		})
	all := uapi("list_locales", "List the locales.", "A record for each: locale, name, local_name and direction.",
		func(_ context.Context, r host.Request) (*protocol.Result, error) {
			out := []any{}
			for _, l := range locales {
				out = append(out, map[string]any{"locale": l.tag, "name": l.name, "local_name": l.own, "direction": direction(l.tag)})
			}
			return list(out)
		})
	attributes.Roles, all.Roles = everyone, everyone
	return []function{attributes, all}
}

// LocaleOf returns the account's locale. Without one, it is en.
func LocaleOf(a protocol.Account) string { return cmp.Or(a.Data["LOCALE"], a.Data["LANG"], "en") }

// localeName returns the English name of a locale, or its tag if the name is not known.
func localeName(tag string) string {
	for _, l := range locales {
		if l.tag == tag {
			return l.name
		}
	}
	return tag
}

func direction(tag string) string {
	if slices.Contains(rightToLeft, tag) {
		return "rtl"
	}
	return "ltr"
}

// DefaultTheme is the theme of an account that has none: cPanel's own default.
const DefaultTheme = "jupiter"

// ThemeOf returns the account's theme.
func ThemeOf(a protocol.Account) string { return cmp.Or(a.Data["THEME"], a.Data["RS"], DefaultTheme) }

func themeFunctions() []function {
	return []function{
		uapi("get_theme_base", "Show the theme that the account's theme is based on.", "jupiter, or unknown.",
			func(_ context.Context, r host.Request) (*protocol.Result, error) {
				if ThemeOf(r.Caller.Account) == DefaultTheme {
					return data(DefaultTheme)
				}
				return data("unknown")
			}),
	}
}

// brandingFunctions returns the functions of Branding that the headers of old plugins call.
func brandingFunctions() []function {
	return []function{{
		protocol.Function{
			API: protocol.API1, Name: "include", Help: "Include a file of cPanel's theme.", Returns: "Nothing: this server has no theme.",
			Params: []protocol.Param{{Name: "file", Help: "The file's name."}},
		},
		func(context.Context, host.Request) (*protocol.Result, error) { return data("") },
	}}
}
