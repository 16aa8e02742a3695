// The paper's Profile as a bean whose lists are arrays; empty until set.
public class Profile {
    private MemoryAllocation[] memoryAllocations;
    private int numberOfProcesses;
    private int numberOfSockets;
    private SystemCall[] systemCalls;

    public MemoryAllocation[] getMemoryAllocations() { return memoryAllocations; }
    public void setMemoryAllocations(MemoryAllocation[] value) { memoryAllocations = value; }
    public int getNumberOfProcesses() { return numberOfProcesses; }
    public void setNumberOfProcesses(int value) { numberOfProcesses = value; }
    public int getNumberOfSockets() { return numberOfSockets; }
    public void setNumberOfSockets(int value) { numberOfSockets = value; }
    public SystemCall[] getSystemCalls() { return systemCalls; }
    public void setSystemCalls(SystemCall[] value) { systemCalls = value; }
}
