// Package wire is the codec of the LiveAPI wire format: it reads frames and requests and writes answers. It knows
// no account and no module, and does no I/O beyond its reader and writer. docs/protocol.md has the format.
//
// A client sends frames:
//
//	LENGTH "\n" PAYLOAD
//
// The length is the payload's, in ASCII decimal. The payload is one of
//
//	<cpaneljson enable="1">                  answers in JSON from here on
//	<cpanelxml enable="1">                   answers in XML
//	<cpanelmsgpack enable="1">               frames of MessagePack, both ways: packed.go
//	<cpanelaction>\n{JSON}\n</cpanelaction>  a call
//	<cpanel ...>, <?cp ... ?>                a tag, which is older than calls
//	<cpanelxml shutdown="1" />               the end of the session
//
// and the host answers each with a line of JSON between markers:
//
//	<?xml version="1.0" ?>\n<cpanelresult>{JSON}</cpanelresult>\n
//
// Clients search for the closing marker, so the JSON must not contain any other '<'.
package wire
