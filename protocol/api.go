package protocol

import (
	"fmt"
	"strings"
)

// API is one of cPanel's call conventions. The zero value is not an API.
type API int

const (
	// API1 takes positional arguments and returns printed text.
	API1 API = 1
	// API2 takes named arguments and returns a list of records.
	API2 API = 2
	// UAPI takes named arguments and returns any value with a status; its number on
	// the wire is 3.
	UAPI API = 3
)

// ParseAPI parses the spellings that clients send: "1", "2", "3" and "uapi".
func ParseAPI(s string) (API, error) {
	switch strings.ToLower(s) {
	case "1":
		return API1, nil
	case "2":
		return API2, nil
	case "3", "uapi":
		return UAPI, nil
	}
	return 0, fmt.Errorf("apiversion: %.20q is not one of 1, 2, 3 and uapi", s)
}

// String returns the API's name for people.
func (a API) String() string {
	switch a {
	case API1:
		return "API 1"
	case API2:
		return "API 2"
	case UAPI:
		return "UAPI"
	}
	return fmt.Sprintf("API(%d)", int(a))
}
