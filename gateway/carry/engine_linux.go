package carry

func newEngine(c *Carrier) engine { return newPortable(c) }
