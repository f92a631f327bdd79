"""From D-Bus to ROS 2: what gemmad understood, on a topic.

GLib's loop has a thread of its own and hears the signals; rclpy has the main thread. Publishing is all that the one does
to the other, and that may be done from any thread.
"""

import json
import threading

import rclpy
from gi.repository import Gio, GLib
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from std_msgs.msg import String


class Bridge(Node):
    def __init__(self):
        super().__init__("gemmad_bridge")
        session = self.declare_parameter("bus", "system").value == "session"
        self.bus = Gio.bus_get_sync(Gio.BusType.SESSION if session else Gio.BusType.SYSTEM)
        self.invoked = self.create_publisher(String, "/gemmad/invoked", 10)
        self.bus.signal_subscribe(
            "org.gemmad1",
            "org.gemmad1.Commands",
            "Invoked",
            "/org/gemmad1/commands",
            None,
            Gio.DBusSignalFlags.NONE,
            self.publish,
        )

    def publish(self, _bus, _sender, _path, _interface, _signal, parameters):
        number, name, arguments, details = parameters.unpack()
        command = {"id": number, "name": name, "arguments": json.loads(arguments), **details}
        self.invoked.publish(String(data=json.dumps(command)))


def main():
    rclpy.init()
    node = Bridge()
    loop = GLib.MainLoop()
    threading.Thread(target=loop.run, daemon=True).start()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        loop.quit()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
