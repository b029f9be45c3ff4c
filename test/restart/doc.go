// Package restart shows what survives when a hub process ends in the middle of everything it does, by SIGKILL and by SIGTERM: the real
// program, with devices that speak MQTT, services that speak HTTPS, and endpoints it forwards to, all at once. What was acknowledged is
// there afterwards; what comes twice is marked as the protocol has it; versions that somebody saw never go back.
//
// It needs neither root nor other machines. ISTHMUS_SOAK, when set, makes it go round far more often than a build can wait for.
package restart
