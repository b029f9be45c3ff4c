// Package abuse shows what bad input and abuse do to a gateway, a resolver, a hub, and a machine that people are let into, with its relay
// and control plane, that run as they do in the field: the real programs, one process each. Every test has somebody use the service
// properly all the while, and asks three things: was everybody else served, and how fast; how much memory did the process come to hold; and
// what does its log say, in how many lines.
//
// It needs Linux, but neither root nor other machines: addresses of 127.0.0.0/8 stand for sources. ISTHMUS_SOAK, when set, makes what
// is done to the processes larger and longer than a build can wait for.
package abuse
