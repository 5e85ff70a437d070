package config

import _ "embed" // for the example

//go:embed example.yaml
var example string

// Example returns a complete configuration with a comment on each field.
func Example() string { return example }
