package httpdoor_test

import "github.com/isthmus-io/isthmus/identity"

var gateway = identity.AgentID("isthmus.local", "ot", "plant-7", "gw-1")
