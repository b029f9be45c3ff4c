// Package message makes what a simulated device sends: a body, fixed or of a template, chosen by shares, and the properties beside it.
//
// A [Recipe] is what all devices share. [Recipe.For] gives each device a [Source] that holds the device's variables; [Source.Next]
// writes one message into buffers the caller keeps. Properties are written as the property bag of an events topic (IoT Hub: MQTT,
// sending device-to-cloud messages), percent-encoded, in a fixed order.
//
// A Recipe does not change after it was made; a Source belongs to one goroutine at a time. The package starts none.
package message
