package hub

import "strings"

// Input returns the input of a module that the message is for: what stands behind /inputs/ in its "to", or "default".
func (c *Command) Input() string {
	_, input, _ := strings.Cut(c.To, "/inputs/")
	if input, _, _ = strings.Cut(input, "/"); input == "" {
		return "default"
	}
	return input
}
