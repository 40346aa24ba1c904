package protocol

import (
	"fmt"
	"strings"
)

// API is one of cPanel's three call conventions. The zero value is not a valid API.
type API int

const (
	// API1 takes positional arguments and returns printed text.
	API1 API = 1
	// API2 takes named arguments and returns a list of records (objects with named fields).
	API2 API = 2
	// UAPI takes named arguments and returns any value, with a status. On the wire its number is 3.
	UAPI API = 3
)

// ParseAPI parses the version of an API as clients write it: "1", "2", "3" or "uapi", in upper or lower case.
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

// String returns the name of the API for messages, such as "API 2".
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
