// Command isthmus-agent is the agent alone, for small machines: static, small, the same rooms as `isthmus agent` and nothing else.
// It links no control plane, no hub and no database (deps_test.go at the root holds it to that). Commands: join, run, virtual-devices. It exits with 1
// when a command fails or is written wrongly, and with an error of two lines as isthmus has it.
package main
