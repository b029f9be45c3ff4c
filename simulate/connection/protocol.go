package connection

// Protocol is what a connection speaks. The zero value is MQTT.
type Protocol string

// What devices may speak to a hub (IoT Hub: communication protocols).
const (
	MQTT          Protocol = "mqtt"
	MQTTWebSocket Protocol = "mqtt-ws"
	AMQP          Protocol = "amqp"
	AMQPWebSocket Protocol = "amqp-ws"
	HTTPS         Protocol = "https"
)

// Port is where hubs listen for it.
func (p Protocol) Port() int {
	switch p {
	case AMQP:
		return 5671
	case MQTTWebSocket, AMQPWebSocket, HTTPS:
		return 443
	default:
		return 8883
	}
}

// WebSocket tells whether it is carried in one.
func (p Protocol) WebSocket() bool { return p == MQTTWebSocket || p == AMQPWebSocket }

// Renews tells whether a new token can be given to a connection that stands.
func (p Protocol) Renews() bool { return p == AMQP || p == AMQPWebSocket || p == HTTPS }

// subprotocol is what a WebSocket is asked for, and what that is for people.
func (p Protocol) subprotocol() (name, speaks string) {
	if p == AMQPWebSocket {
		return "AMQPWSB10", "AMQP"
	}
	return "mqtt", "MQTT"
}

// talk returns what is spoken on a connection.
func (w *Way) talk(c *Conn) talk {
	switch w.cfg.Protocol {
	case AMQP, AMQPWebSocket:
		return newAMQPTalk(c)
	case HTTPS:
		return &httpsTalk{c: c}
	default:
		return &mqttTalk{c: c}
	}
}
