// Package wire is the codec of the LiveAPI wire format: it reads frames, parses requests and writes answers. The
// package does not depend on accounts or modules, and does no I/O except through the given reader or writer.
// docs/protocol.md describes the format.
//
// A client sends frames:
//
//	LENGTH "\n" PAYLOAD
//
// LENGTH is the length of the payload in bytes, in ASCII decimal. The payload is one of
//
//	<cpaneljson enable="1">                  from now on, answers are JSON
//	<cpanelxml enable="1">                   from now on, answers are XML
//	<cpanelmsgpack enable="1">               from now on, frames are MessagePack in both directions: see packed.go
//	<cpanelaction>\n{JSON}\n</cpanelaction>  a call
//	<cpanel ...>, <?cp ... ?>                a tag, the deprecated form of a call
//	<cpanelxml shutdown="1" />               the end of the session
//
// and the host answers each frame with a line of JSON between markers:
//
//	<?xml version="1.0" ?>\n<cpanelresult>{JSON}</cpanelresult>\n
//
// Clients search for the closing marker, so the JSON must not contain any other '<'.
package wire
