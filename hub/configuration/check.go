package configuration

// Check tells what is wrong with a configuration that is to be created, before a hub is asked.
func (c Configuration) Check() error { return c.check() }
