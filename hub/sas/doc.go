// Package sas reads, checks and makes shared access signatures, the tokens by which Azure IoT devices and service clients prove that
// they hold a key (IoT Hub: Control access with shared access signatures).
//
// A token says: whoever made this holds the key, and may use what lies under sr until se. The signature covers sr exactly as it
// stands in the token, so nothing is normalised before it is checked. Signatures are compared in constant time. Which key, and what a
// named policy may do, is the caller's business.
//
// The package holds no state and is safe for concurrent use.
package sas
