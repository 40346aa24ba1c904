// Package wire is the codec of the LiveAPI wire: frames and requests in, answers out.
// It knows no account and no module and does no I/O beyond the reader and writer it
// is handed. The format is in docs/protocol.md.
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
//	<cpanelaction>\n{JSON}\n</cpanelaction>  one call
//	<cpanel ...>, <?cp ... ?>                a tag, from before the calls
//	<cpanelxml shutdown="1" />               the end of the session
//
// and the host answers each with one line of JSON between markers:
//
//	<?xml version="1.0" ?>\n<cpanelresult>{JSON}</cpanelresult>\n
//
// Clients search for the closing marker, so no other '<' may stand in the JSON.
package wire
