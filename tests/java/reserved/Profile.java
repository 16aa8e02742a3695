// The paper's Profile as its example implies it: arrays that are there before they are filled by
// index. A JDK writes the paper's very form of such a bean, and only of such a one.
public class Profile {
    private MemoryAllocation[] memoryAllocations = new MemoryAllocation[2];
    private int numberOfProcesses;
    private int numberOfSockets;
    private SystemCall[] systemCalls = new SystemCall[2];

    public MemoryAllocation[] getMemoryAllocations() { return memoryAllocations; }
    public void setMemoryAllocations(MemoryAllocation[] value) { memoryAllocations = value; }
    public int getNumberOfProcesses() { return numberOfProcesses; }
    public void setNumberOfProcesses(int value) { numberOfProcesses = value; }
    public int getNumberOfSockets() { return numberOfSockets; }
    public void setNumberOfSockets(int value) { numberOfSockets = value; }
    public SystemCall[] getSystemCalls() { return systemCalls; }
    public void setSystemCalls(SystemCall[] value) { systemCalls = value; }
}
