"""Passes Ethernet frames between two interfaces, each a while later, and loses some: a long line in user space.

relay.py ONE OTHER DELAY_MS LOSS_PERCENT; half of the delay each way.
"""

import collections
import random
import select
import socket
import sys
import time


def main():
    names, delay, loss = sys.argv[1:3], float(sys.argv[3]) / 2_000, float(sys.argv[4]) / 100
    dice = random.Random(7)
    ends = []
    for name in names:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        end.bind((name, 0))
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        ends.append(end)
    waiting = [collections.deque(), collections.deque()]
    while True:
        now = time.monotonic()
        due = min((queue[0][0] for queue in waiting if queue), default=now + 1)
        ready, _, _ = select.select(ends, [], [], max(0, due - now))
        for end in ready:
            side = ends.index(end)
            for _ in range(64):
                try:
                    frame, where = end.recvfrom(65_536)
                except BlockingIOError:
                    break
                # What we sent ourselves is seen again.
                if where[2] != socket.PACKET_OUTGOING and dice.random() >= loss:
                    waiting[side].append((time.monotonic() + delay, frame))
        now = time.monotonic()
        for side, queue in enumerate(waiting):
            while queue and queue[0][0] <= now:
                ends[1 - side].send(queue.popleft()[1])


main()
