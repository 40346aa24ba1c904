package config

// Mock is a [[mock]] section of the configuration: a cassette that answers calls in place of modules. Only a host in
// personal mode may have one.
type Mock struct {
	// The file of a cassette, which liveapi record has written.
	Cassette string `toml:"cassette" example:"\"cassette.jsonl\""`
	// Answer only calls with the recorded arguments, each as often as it was recorded, and let all other calls of all
	// modules fail. Default: false.
	Strict bool `toml:"strict" example:"true"`
	// Answer also calls of functions that a module of the host has. Default: false.
	Replace bool `toml:"replace" example:"true"`
	// All means that the cassette gets the calls of all functions, also of those that it does not contain.
	All bool `toml:"-"`
}
