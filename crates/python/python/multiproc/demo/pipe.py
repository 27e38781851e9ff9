from multiproc import Pipe

conn1,conn2 = Pipe()
conn1.send("hello")
print(conn2.recv())
